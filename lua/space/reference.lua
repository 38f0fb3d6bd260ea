-- reference: right everywhere, fast nowhere. Verification compares against it.
return {
    doc = "one warp per output element, f64 sums: valid for every arch and shape",
    template = "templates/reference.tmpl",
    ops = { "gemm1", "gemm1_act", "gemm1_quantise", "gemm2", "gemm2_combine" },
    layouts = { "interleaved8" },
    tunables = {
        {
            name = "threads",
            unit = "threads",
            values = { 1, 32, 64, 128, 256 },
            default = 128,
            doc = "threads of a block, 1 on the host; each warp computes one output element at a time",
        },
    },
}
