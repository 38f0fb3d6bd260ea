-- fp16: weights, input and output in IEEE half, sums in f32.
return {
    doc = "IEEE half weights and activations, f32 sums",
    supported = true,
    weight = {
        format = "f16",
        bits = 16,
        packing = { word_bits = 16, order = { 0 }, axis = "k" },
    },
    input = { format = "f16" },
    io = "f16",
    accumulate = "f32",
    align_elems = 8, -- 16 bytes: one asynchronous copy
    tolerance = {
        element_rel = 2 ^ -10,
        element_rms = 0.003,
        row_norm = 0.002,
        why = "one rounding to 11 bits costs up to 2^-11 of an element, about 0.0002 of a row; leaving out 16 of "
            .. "k = 14336 costs sqrt(16/14336) = 0.033 of a row",
    },
}
