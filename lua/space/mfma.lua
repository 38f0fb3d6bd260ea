-- mfma: grouped GEMM with CDNA's matrix instructions (templates/mfma.tmpl).
-- The rules prune what is legal but cannot win. Where those of vLLM's tuner for ROCm (prune_rocm_configs) are:
--   matrix instruction larger than the tile             wave_rows, wave_columns (structural); matrix_of_small_tiles
--   matrix instruction of 32 for fewer than 32 columns  none: no layer has so few
--   tile of fewer than 64 sums                          the smallest here has 512
--   tile of more than twice the columns                 columns_wasted
--   depth left over by split_k steps                    depth_left_over
--   split-K without need                                split_of_tall_tiles, split_not_needed, split_too_short
--   shared memory                                       smem_block (structural): counts stages, padding, results and the flag
-- Four ask for the number of tokens, which a space does not see, for it serves every number. The estimate ranks what they drop
-- behind what they keep (tests/test_estimate.c):
--   matrix instruction of 32 for fewer than 32 rows, tile of more than twice the rows   rows nobody needs cost loads and products
--   group of more rows than there are                                                   gains nothing, costs divisions
--   large product in tiles of fewer than 64 rows or columns, or in fewer than 4 waves   share of the peak of small tiles
-- Theirs count the rows of all experts together and would keep tiles of 64 rows where each expert has 16; here rows are those of an
-- expert. Their 64 as the least depth of a large product is not taken: 256 x 256 has no room for more than 32.
return {
    doc = "v_mfma of 16 or 32 rows, a step in registers while one is multiplied, split-K; CDNA 2 and later",
    template = "templates/mfma.tmpl",
    primitives = "amd",
    ops = { "gemm1", "gemm2" },
    schemes = {
        "bf16", "fp16",
        "fp8_w8a8", "fp8_w8a8_channel", "fp8_w8a8_block", "fp8_w8a8_fnuz", "fp8_w8a8_channel_fnuz", "fp8_w8a8_block_fnuz",
        "int4_w4a16", "int4_w4a16_fp16", "int4_w4a16_zp", "int4_w4a16_zp_fp16",
        "int4_w4a16_g64", "int4_w4a16_g64_fp16", "int4_w4a16_g64_zp", "int4_w4a16_g64_zp_fp16",
        "int4_w4a16_g32", "int4_w4a16_g32_fp16", "int4_w4a16_g32_zp", "int4_w4a16_g32_zp_fp16",
    },
    needs = { "mfma" },
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
            name = "matrix_size",
            unit = "rows",
            values = { 16, 32 },
            default = 16,
            doc = "rows and columns of the matrix instruction: matrix_instr_nonkdim elsewhere",
        },
        {
            name = "kpack",
            unit = "fragments",
            values = { 1, 2 },
            default = 2,
            doc = "neighbouring fragments read from shared memory at once: 2 makes 16-byte reads of 8-byte ones",
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
            name = "direct_lds",
            unit = "switch",
            values = { 0, 1 },
            default = 0,
            doc = "1: loads go to shared memory past the registers, 16 bytes a lane on gfx950, 4 on gfx90a and gfx942",
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
            name = "large_tile_of_few_waves",
            reason = "wavefronts of a tile of 128 x 128 and more",
            holds = function(c)
                return c.tile_m * c.tile_n < 128 * 128 or c.waves_m * c.waves_n >= 4, c.waves_m * c.waves_n, 4
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
        {
            name = "matrix_of_small_tiles",
            reason = "rows of the matrix instruction: a tile of fewer than 32 rows or columns leaves half of 32 idle",
            holds = function(c)
                return c.matrix_size == 16 or math.min(c.tile_m, c.tile_n) >= 32, c.matrix_size, 16
            end,
        },
        {
            name = "registers_for_nobody",
            reason = "estimated registers: one wavefront to a unit moves sums to accumulation registers: it only pays from here on",
            holds = function(c, p, a, d)
                return c.waves_per_eu > 1 or d.regs_estimate > 192, d.regs_estimate, 192
            end,
        },
        {
            name = "kpack_of_wide_fragments",
            reason = "fragments read at once: one has 16 bytes of a lane already",
            holds = function(c, p, a)
                return c.kpack == 1 or not a.features.mfma_k8 or p.weight_bits == 8, c.kpack, 1
            end,
        },
    },
}
