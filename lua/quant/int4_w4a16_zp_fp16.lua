-- int4_w4a16_zp_fp16: 4-bit weights in the ExLlama shuffle (vLLM's W4A16 kernels for gfx11): even elements in a word's low half.
return {
    doc = "4-bit weights in groups of 128 with zero points, fp16 activations, f32 sums",
    supported = true,
    weight = {
        format = "uint4",
        bits = 4,
        decode = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
        packing = { word_bits = 32, order = { 0, 2, 4, 6, 1, 3, 5, 7 }, axis = "k" },
    },
    scale = { format = "f16", group_n = 1, group_k = 128, order = "nk" },
    zero = { -- a nibble per group and column, eight columns to a word
        format = "uint4",
        group_n = 1,
        group_k = 128,
        order = "nk",
        packing = { word_bits = 32, order = { 0, 1, 2, 3, 4, 5, 6, 7 }, axis = "n" },
    },
    input = { format = "f16" },
    io = "f16",
    accumulate = "f32",
    align_elems = 32, -- 16 bytes of codes
    tolerance = {
        element_rel = 2 ^ -10,
        element_rms = 0.004,
        row_norm = 0.003,
        why = "a fast kernel rounds the scaled weight to fp16, and the result: each about 0.0002 of a row; leaving out 16 of "
            .. "k = 14336 costs sqrt(16/14336) = 0.033 of a row",
    },
}
