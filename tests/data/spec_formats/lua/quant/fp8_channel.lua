-- A format of the future, in the notation of today.
return {
    doc = "e4m3 both, per channel and per token",
    supported = false,
    weight = {
        format = "e4m3",
        bits = 8,
        packing = { word_bits = 8, order = { 0 }, axis = "k" },
    },
    scale = { format = "f32", group_n = 1, group_k = 0 },
    input = { format = "e4m3", scale = "token", scale_format = "f32", dynamic = true },
    io = "bf16",
    align_elems = 16,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
