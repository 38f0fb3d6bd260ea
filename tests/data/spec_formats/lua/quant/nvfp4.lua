-- A format of the future, in the notation of today.
return {
    doc = "fp4 in groups of 16 with e4m3 scales and a scale per tensor, both operands",
    supported = false,
    weight = {
        format = "e2m1",
        bits = 4,
        decode = { 0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6 },
        packing = { word_bits = 8, order = { 0, 1 }, axis = "k" },
    },
    scale = { format = "e4m3", group_n = 1, group_k = 16 },
    global_scale = { format = "f32" },
    input = { format = "e2m1", scale = "group", scale_format = "e4m3", group_k = 16, dynamic = true, global_scale = "f32" },
    io = "bf16",
    align_elems = 32,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
