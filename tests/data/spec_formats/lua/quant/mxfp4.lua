-- A format of the future, in the notation of today.
return {
    doc = "OCP microscaling fp4, 32 to a power-of-two scale",
    supported = false,
    weight = {
        format = "e2m1",
        bits = 4,
        decode = { 0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6 },
        packing = { word_bits = 8, order = { 0, 1 }, axis = "k" },
    },
    scale = { format = "e8m0", group_n = 1, group_k = 32 },
    input = { format = "bf16" },
    io = "bf16",
    align_elems = 32,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
