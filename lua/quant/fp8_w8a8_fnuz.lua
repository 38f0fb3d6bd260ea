-- fp8_w8a8_fnuz: as fp8_w8a8 in e4m3fnuz (bias 8, largest 240, 0x80 the one NaN), what gfx942 multiplies.
-- The encoding is part of the bytes in memory, so it is a scheme of its own: no kernel reads codes as another encoding's.
return {
    doc = "e4m3fnuz weights and activations; one f32 scale per expert, one static input scale",
    supported = true,
    weight = {
        format = "e4m3fnuz",
        bits = 8,
        packing = { word_bits = 8, order = { 0 }, axis = "k" },
    },
    scale = { format = "f32", group_n = 0, group_k = 0, order = "nk" },
    input = { format = "e4m3fnuz", scale = "tensor", scale_format = "f32" },
    io = "bf16",
    accumulate = "f32",
    align_elems = 16, -- 16 bytes: one asynchronous copy
    tolerance = {
        element_rel = 2 ^ -7,
        element_rms = 0.03,
        row_norm = 0.012,
        why = "one rounding to bf16, 0.0017 of a row; fp8 matrix units keep about 14 bits of a sum, some 0.004; leaving "
            .. "out 32 of k = 14336 costs sqrt(32/14336) = 0.047 of a row",
    },
}
