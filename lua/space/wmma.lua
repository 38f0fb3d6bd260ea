-- wmma: grouped GEMM with RDNA's matrix instructions (templates/wmma.tmpl).
-- The rules prune what is legal but cannot win; how those of vLLM's tuner for ROCm come in is said in mfma.lua. Large tiles of few
-- wavefronts need no rule: 128 x 128 sums of two have no registers.
return {
    doc = "v_wmma 16x16x16 in wavefronts of 32, a step in registers while one is multiplied, split-K; RDNA 3 and later",
    template = "templates/wmma.tmpl",
    primitives = "amd",
    ops = { "gemm1", "gemm2" },
    schemes = {
        "bf16", "fp16",
        "fp8_w8a8", "fp8_w8a8_channel", "fp8_w8a8_block",
        "int4_w4a16", "int4_w4a16_fp16", "int4_w4a16_zp", "int4_w4a16_zp_fp16",
        "int4_w4a16_g64", "int4_w4a16_g64_fp16", "int4_w4a16_g64_zp", "int4_w4a16_g64_zp_fp16",
        "int4_w4a16_g32", "int4_w4a16_g32_fp16", "int4_w4a16_g32_zp", "int4_w4a16_g32_zp_fp16",
    },
    needs = { "wmma" },
    tunables = {
        {
            name = "tile_m",
            unit = "rows",
            values = { 16, 32, 64, 128, 256 },
            default = 32,
            doc = "rows of one expert that a block computes; rows missing at an expert's end are computed and dropped",
        },
        {
            name = "tile_n",
            unit = "columns",
            values = { 32, 64, 128, 256 },
            default = 128,
            doc = "output columns of a block; a wide tile reads the input rows fewer times",
        },
        {
            name = "tile_k",
            unit = "elements",
            values = { 32, 64, 128, 256 },
            default = 64,
            doc = "depth of one step; a deep step synchronises less often and needs more registers and shared memory",
        },
        {
            name = "stages",
            unit = "steps",
            values = { 1, 2 },
            default = 1,
            doc = "steps in shared memory, with one more in registers; two save a barrier per step",
        },
        {
            name = "waves_m",
            unit = "wavefronts",
            values = { 1, 2, 4 },
            default = 1,
            doc = "wavefronts along the rows of the tile; each of them reads the whole width of the weights",
        },
        {
            name = "waves_n",
            unit = "wavefronts",
            values = { 1, 2, 4 },
            default = 4,
            doc = "wavefronts along the columns of the tile; each of them reads all input rows",
        },
        {
            name = "waves_per_eu",
            unit = "wavefronts",
            values = { 1, 2, 4 },
            default = 2,
            doc = "wavefronts of a SIMD unit that the compiler leaves registers for; 1: as many as the block needs",
        },
        {
            name = "lds_pad",
            unit = "bytes",
            values = { 0, 16 },
            default = 0,
            doc = "bytes after each row in shared memory; 0: rows are swizzled instead",
        },
        {
            name = "cu_mode",
            unit = "switch",
            values = { 0, 1 },
            default = 0,
            doc = "1: the block's wavefronts and its shared memory keep to one compute unit of a pair",
        },
        {
            name = "store_lds",
            unit = "switch",
            values = { 0, 1 },
            default = 0,
            doc = "1: results are gathered in the steps' shared memory after the last one, so that rows leave in stores of 16 bytes",
        },
        {
            name = "group_m",
            unit = "row tiles",
            values = { 1, 8 },
            default = 1,
            doc = "row tiles of an expert walked before the next column tile, so that weights are found in the last cache",
        },
        {
            name = "split_k",
            unit = "parts",
            values = { 1, 2, 4 },
            default = 1,
            doc = "blocks that share one tile's depth; costs a pass over partial sums in memory",
        },
    },
    rules = {
        {
            name = "waves_of_a_block",
            reason = "wavefronts: 4 keep the SIMD units busy (2 do for all but large tiles), 8 gain nothing over two blocks",
            holds = function(c)
                local waves = c.waves_m * c.waves_n
                local least = c.tile_m * c.tile_n <= 4096 and 2 or 4
                return waves >= least and waves <= 8, waves, waves < least and least or 8
            end,
        },
        {
            name = "wave_shape",
            reason = "columns of a wavefront: rows are split only between wide ones, for a narrow one loads more than it multiplies",
            holds = function(c)
                local width = c.tile_n // c.waves_n
                return c.waves_m == 1 or width >= 32, width, 32
            end,
        },
        {
            name = "columns_wasted",
            reason = "share of computed columns that do not exist, with a narrower tile at hand",
            holds = function(c, p, a, d)
                local wasted = 1 - p.n / (d.n_tiles * c.tile_n)
                return c.tile_n == 32 or wasted <= 0.2, wasted, 0.2
            end,
        },
        {
            name = "depth_left_over",
            reason = "elements of the depth left over by whole steps, with a shorter step at hand",
            holds = function(c, p)
                local left = p.k % (c.split_k * c.tile_k)
                return c.tile_k == 32 and c.split_k == 1 or left == 0, left, 0
            end,
        },
        {
            name = "step_depth",
            reason = "a tall tile does enough work per step: depth beyond this only takes shared memory and registers",
            holds = function(c, p)
                local limit = (c.tile_m <= 32 and 128 or 64) * (p.weight_bits == 8 and 2 or 1)
                return c.tile_k <= limit, c.tile_k, limit
            end,
        },
        {
            name = "step_too_small",
            reason = "weights loaded per step, in bytes: below this synchronising costs more than loading",
            holds = function(c, p)
                local bytes = c.tile_n * c.tile_k * p.weight_bits // 8
                return bytes >= 256 * p.weight_bits, bytes, 256 * p.weight_bits
            end,
        },
        {
            name = "group_of_small_tiles",
            reason = "rows of the tile: grouping is for experts of many tiles, which want taller ones",
            holds = function(c)
                return c.group_m == 1 or c.tile_m >= 64, c.tile_m, 64
            end,
        },
        {
            name = "gather_of_small_tiles",
            reason = "rows of the tile: with few rows weights are what is moved, and gathering results only adds barriers",
            holds = function(c)
                return c.store_lds == 0 or c.tile_m >= 64, c.tile_m, 64
            end,
        },
        {
            name = "split_of_tall_tiles",
            reason = "rows of the tile: many rows fill the device without splitting the depth",
            holds = function(c)
                return c.split_k == 1 or c.tile_m <= 32, c.tile_m, 32
            end,
        },
        {
            name = "split_not_needed",
            reason = "blocks that one token gives with half the parts, per compute unit: the device is full without more",
            holds = function(c, p, a, d)
                local blocks = d.n_tiles * math.min(p.top_k, p.experts) * (c.split_k // 2) / a.sm_count
                return c.split_k == 1 or blocks < 2, blocks, 2
            end,
        },
        {
            name = "split_too_short",
            reason = "steps of a part: most of its time is its beginning and its end",
            holds = function(c, p, a, d)
                return c.split_k == 1 or d.k_tiles_per_split >= 4, d.k_tiles_per_split, 4
            end,
        },
    },
}
