-- A format of the future, in the notation of today.
return {
    doc = "compressed-tensors: offset binary along k, symmetric",
    supported = false,
    weight = {
        format = "int4",
        bits = 4,
        decode = { -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7 },
        packing = { word_bits = 32, order = { 0, 1, 2, 3, 4, 5, 6, 7 }, axis = "k" },
    },
    scale = { format = "bf16", group_n = 1, group_k = 128 },
    input = { format = "bf16" },
    io = "bf16",
    align_elems = 32,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
