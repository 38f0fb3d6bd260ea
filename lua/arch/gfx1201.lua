-- gfx1201: RDNA 4: RX 9070, RX 9070 XT, R9700.
return {
    doc = "RDNA 4: RX 9070, RX 9070 XT, R9700",
    vendor = "amd",
    prelude = "hip",
    compile_target = "gfx1201",
    capability_major = 12,
    capability_minor = 0,
    warp_size = 32,
    smem_block_bytes_max = 64 * 1024,
    smem_sm_bytes = 128 * 1024,
    smem_block_reserved_bytes = 0,
    regs_sm = 4 * 1536 * 32,
    regs_thread_max = 256,
    threads_block_max = 1024,
    threads_sm_max = 2048,
    blocks_sm_max = 32,
    features = { "wmma", "wmma_split", "fp8_ocp" },
    families = { "wmma", "reference", "simple" },
    typical_device = "RX 9070 XT",
    typical = {
        sm_count = 32, -- work-group processors of two compute units
        memory_gbps = 545,
        matrix_tflops = 135,
        l2_bytes = 64 * 2 ^ 20,
        launch_us = 3.0,
    },
    source = "LLVM's AMDGPU targets, AMD's ISA guides; typical: "
        .. "about 0.85 and 0.7 of the data sheet: 640 GB/s, 195 TFLOP/s; the last cache is MALL",
}
