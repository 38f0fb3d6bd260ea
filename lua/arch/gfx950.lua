-- gfx950: CDNA 4: MI350X, MI355X.
return {
    doc = "CDNA 4: MI350X, MI355X",
    vendor = "amd",
    prelude = "hip",
    compile_target = "gfx950",
    capability_major = 9,
    capability_minor = 5,
    warp_size = 64,
    smem_block_bytes_max = 160 * 1024,
    smem_sm_bytes = 160 * 1024,
    smem_block_reserved_bytes = 0,
    regs_sm = 4 * 512 * 64,
    regs_thread_max = 512,
    threads_block_max = 1024,
    threads_sm_max = 2048,
    blocks_sm_max = 16,
    features = { "mfma", "mfma_k8", "fp8_ocp", "lds_load4", "lds_load16" },
    families = { "mfma", "reference", "simple" },
    typical_device = "MI355X",
    typical = {
        sm_count = 256, -- compute units
        memory_gbps = 6800,
        matrix_tflops = 1750,
        l2_bytes = 256 * 2 ^ 20,
        launch_us = 3.0,
    },
    source = "LLVM's AMDGPU targets, AMD's ISA guides; typical: "
        .. "about 0.85 and 0.7 of the data sheet: 8000 GB/s, 2516 TFLOP/s; the last cache is MALL",
}
