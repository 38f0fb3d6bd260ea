-- cpu: the machine itself. What its cores can do is left to the system compiler (-march=native), so there is nothing to
-- count here but threads; shared memory and registers do not limit it.
return {
    doc = "the host's cores, through the system C compiler",
    vendor = "cpu",
    prelude = "host",
    compile_target = "native",
    warp_size = 1,
    smem_block_bytes_max = 4 * 2 ^ 20, -- scratch of a block, in the cache
    smem_sm_bytes = 4 * 2 ^ 20,
    regs_sm = 0,
    regs_thread_max = 0,
    threads_block_max = 1024,
    threads_sm_max = 1024,
    blocks_sm_max = 1,
    features = {},
    families = { "cpu", "reference", "simple" },
    typical_device = "2 cores with AVX2",
    typical = {
        sm_count = 2,
        memory_gbps = 20,
        matrix_tflops = 0.08, -- f32 products after conversion
        l2_bytes = 32 * 2 ^ 20,
        launch_us = 10, -- waking the threads
    },
    source = "order of magnitude for a small machine; a device at hand is measured instead",
}
