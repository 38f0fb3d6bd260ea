local packing = { word_bits = 32, order = { 0, 1, 2, 3, 4, 5, 6, 6 }, axis = "k" }
return {
    doc = "packing is no permutation, decode too short",
    supported = false,
    weight = {
        format = "int4",
        bits = 4,
        decode = { 0, 1, 2 },
        packing = packing,
    },
    zero = { format = "int4", group_n = 1, group_k = 64 },
    input = { format = "bf16", scale = "group", scale_format = "f32" },
    io = "bf16",
    align_elems = 8,
    tolerance = {
        element_rel = 2,
        element_rms = 0.02,
        row_norm = 0.008,
        why = "\n",
    },
}
