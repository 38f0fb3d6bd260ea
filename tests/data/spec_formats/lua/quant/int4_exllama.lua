-- A format of the future, in the notation of today.
return {
    doc = "GPTQ shuffled for ExLlama: even elements in the low half of a word",
    supported = false,
    weight = {
        format = "uint4",
        bits = 4,
        decode = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
        packing = { word_bits = 32, order = { 0, 2, 4, 6, 1, 3, 5, 7 }, axis = "k" },
    },
    scale = { format = "f16", group_n = 1, group_k = 128, order = "kn" },
    zero = {
        format = "uint4",
        group_n = 1,
        group_k = 128,
        order = "kn",
        packing = { word_bits = 32, order = { 0, 1, 2, 3, 4, 5, 6, 7 }, axis = "n" },
    },
    zero_bias = 1,
    input = { format = "bf16" },
    io = "bf16",
    align_elems = 32,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
