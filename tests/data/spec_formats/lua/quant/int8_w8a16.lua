-- A format of the future, in the notation of today.
return {
    doc = "int8 weights, a scale per row",
    supported = false,
    weight = {
        format = "int8",
        bits = 8,
        packing = { word_bits = 8, order = { 0 }, axis = "k" },
    },
    scale = { format = "bf16", group_n = 1, group_k = 0 },
    input = { format = "bf16" },
    io = "bf16",
    align_elems = 16,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
