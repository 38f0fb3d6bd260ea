-- cpu: grouped GEMM on the host's vectors and threads (templates/cpu.tmpl).
return {
    doc = "vectors as the C compiler finds them (AVX-512 BF16, AVX2 with F16C, ...), one block per expert and column tile",
    template = "templates/cpu.tmpl",
    ops = { "gemm1", "gemm1_act", "gemm2", "gemm2_combine" },
    layouts = { "interleaved8" },
    schemes = { "bf16", "fp16" },
    tunables = {
        {
            name = "tile_n",
            unit = "columns",
            values = { 16, 32, 64, 128 },
            default = 64,
            doc = "weight rows of a block; few balance the threads better, many decode the input rows less often",
        },
        {
            name = "tile_k",
            unit = "elements",
            values = { 512, 1024, 2048, 4096 },
            default = 1024,
            doc = "depth of a part; tile_n * tile_k * 2 bytes of weights stay in the second-level cache while all rows meet them",
        },
        {
            name = "rows",
            unit = "rows",
            values = { 16, 64, 256 },
            default = 64,
            doc = "rows of an expert that share one pass over the weights; more need more scratch",
        },
    },
}
