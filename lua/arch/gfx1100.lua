-- gfx1100: RDNA 3: RX 7900 XTX, W7900.
return {
    doc = "RDNA 3: RX 7900 XTX, W7900",
    vendor = "amd",
    prelude = "hip",
    compile_target = "gfx1100",
    capability_major = 11,
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
    features = { "wmma", "wmma_doubled" },
    families = { "wmma", "reference", "simple" },
    typical_device = "RX 7900 XTX",
    typical = {
        sm_count = 48, -- work-group processors of two compute units
        memory_gbps = 820,
        matrix_tflops = 85,
        l2_bytes = 96 * 2 ^ 20,
        launch_us = 3.0,
    },
    source = "LLVM's AMDGPU targets, AMD's ISA guides; typical: "
        .. "about 0.85 and 0.7 of the data sheet: 960 GB/s, 123 TFLOP/s; the last cache is MALL",
}
