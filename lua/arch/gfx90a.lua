-- gfx90a: CDNA 2: MI210, MI250, MI250X (one of its two dies).
return {
    doc = "CDNA 2: MI210, MI250, MI250X (one of its two dies)",
    vendor = "amd",
    prelude = "hip",
    compile_target = "gfx90a",
    capability_major = 9,
    capability_minor = 0,
    warp_size = 64,
    smem_block_bytes_max = 64 * 1024,
    smem_sm_bytes = 64 * 1024,
    smem_block_reserved_bytes = 0,
    regs_sm = 4 * 512 * 64,
    regs_thread_max = 512,
    threads_block_max = 1024,
    threads_sm_max = 2048,
    blocks_sm_max = 16,
    features = { "mfma", "mfma_k4", "lds_load4" },
    families = { "mfma", "reference", "simple" },
    typical_device = "MI210",
    typical = {
        sm_count = 104, -- compute units
        memory_gbps = 1400,
        matrix_tflops = 125,
        l2_bytes = 8 * 2 ^ 20,
        launch_us = 3.0,
    },
    source = "LLVM's AMDGPU targets, AMD's ISA guides; typical: "
        .. "about 0.85 and 0.7 of the data sheet: 1638 GB/s, 181 TFLOP/s",
}
