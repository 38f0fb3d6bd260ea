-- A format of the future, in the notation of today.
return {
    doc = "OCP microscaling fp8, both operands",
    supported = false,
    weight = {
        format = "e4m3",
        bits = 8,
        packing = { word_bits = 8, order = { 0 }, axis = "k" },
    },
    scale = { format = "e8m0", group_n = 1, group_k = 32 },
    input = { format = "e4m3", scale = "group", scale_format = "e8m0", group_k = 32, dynamic = true },
    io = "bf16",
    align_elems = 32,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
