-- gfx942: CDNA 3: MI300A, MI300X, MI325X.
return {
    doc = "CDNA 3: MI300A, MI300X, MI325X",
    vendor = "amd",
    prelude = "hip",
    compile_target = "gfx942",
    capability_major = 9,
    capability_minor = 4,
    warp_size = 64,
    smem_block_bytes_max = 64 * 1024,
    smem_sm_bytes = 64 * 1024,
    smem_block_reserved_bytes = 0,
    regs_sm = 4 * 512 * 64,
    regs_thread_max = 512,
    threads_block_max = 1024,
    threads_sm_max = 2048,
    blocks_sm_max = 16,
    features = { "mfma", "mfma_k4", "fp8_fnuz", "lds_load4" },
    families = { "mfma", "reference", "simple" },
    typical_device = "MI300X",
    typical = {
        sm_count = 304, -- compute units
        memory_gbps = 4300,
        matrix_tflops = 900,
        l2_bytes = 256 * 2 ^ 20,
        launch_us = 3.0,
    },
    source = "LLVM's AMDGPU targets, AMD's ISA guides; typical: "
        .. "about 0.85 and 0.7 of the data sheet: 5300 GB/s, 1307 TFLOP/s; the last cache is MALL",
}
