-- bf16: weights, input and output in bfloat16, sums in f32.
return {
    doc = "bfloat16 weights and activations, f32 sums",
    supported = true,
    weight = {
        format = "bf16",
        bits = 16,
        packing = { word_bits = 16, order = { 0 }, axis = "k" },
    },
    input = { format = "bf16" },
    io = "bf16",
    accumulate = "f32",
    align_elems = 8, -- 16 bytes: one asynchronous copy
    tolerance = {
        element_rel = 2 ^ -7,
        element_rms = 0.02,
        row_norm = 0.008,
        why = "one rounding to 8 bits costs up to 2^-8 of an element, about 0.0017 of a row; leaving out 16 of "
            .. "k = 14336 costs sqrt(16/14336) = 0.033 of a row",
    },
}
