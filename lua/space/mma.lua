-- mma: grouped GEMM with mma.sync m16n8k16, for sm_80 and later (templates/mma.tmpl).
-- The rules prune what is legal but cannot win. They see the problem and the device, never the number of tokens: one
-- space serves every batch size.

-- Bytes that must be on their way to each multiprocessor so that memory is never idle: bandwidth * 0.7 us.
local function bytes_to_hide(arch)
    return 700 * arch.memory_gbps / arch.sm_count
end

return {
    doc = "mma.sync m16n8k16, ldmatrix, cp.async pipeline, split-K; sm_80 and later",
    template = "templates/mma.tmpl",
    ops = { "gemm1", "gemm2" },
    layouts = { "interleaved8" },
    schemes = { "bf16", "fp16" },
    needs = { "mma_bf16", "mma_f16", "cp_async", "ldmatrix" },
    tunables = {
        {
            name = "tile_m",
            unit = "rows",
            values = { 16, 32, 64, 128 },
            default = 16,
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
            doc = "depth of one pipeline step; a deep step synchronises less often and needs more shared memory",
        },
        {
            name = "stages",
            unit = "steps",
            values = { 2, 3, 4, 5, 6, 8 },
            default = 4,
            doc = "steps held in shared memory; all but one are being copied while one is multiplied",
        },
        {
            name = "warps_m",
            unit = "warps",
            values = { 1, 2, 4 },
            default = 1,
            doc = "warps along the rows of the tile; each of them reads the whole width of the weights",
        },
        {
            name = "warps_n",
            unit = "warps",
            values = { 1, 2, 4, 8 },
            default = 4,
            doc = "warps along the columns of the tile; each of them reads all input rows",
        },
        {
            name = "group_m",
            unit = "row tiles",
            values = { 1, 8, 16 },
            default = 1,
            doc = "row tiles of an expert walked before the next column tile, so that weights are found in L2",
        },
        {
            name = "split_k",
            unit = "parts",
            values = { 1, 2, 4, 8 },
            default = 1,
            doc = "blocks that share one tile's depth; costs a pass over partial sums in memory",
        },
    },
    rules = {
        {
            name = "warps_of_a_block",
            reason = "4 warps keep a multiprocessor's quarters busy (2 do for all but large tiles), 8 gain nothing over two blocks",
            holds = function(c)
                local warps = c.warps_m * c.warps_n
                local least = c.tile_m * c.tile_n <= 8192 and 2 or 4
                return warps >= least and warps <= 8, warps, warps < least and least or 8
            end,
        },
        {
            name = "warp_shape",
            reason = "rows are split only between warps that are wide: a narrow warp loads more than it multiplies",
            holds = function(c)
                local width = c.tile_n // c.warps_n
                return c.warps_m == 1 or width >= 32, width, 32
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
            name = "step_depth",
            reason = "a tall tile does enough work per step: depth beyond this only takes shared memory from stages",
            holds = function(c)
                local limit = c.tile_m <= 32 and 256 or c.tile_m <= 64 and 128 or 64
                return c.tile_k <= limit, c.tile_k, limit
            end,
        },
        {
            name = "step_too_small",
            reason = "weights copied per step, in bytes: below this synchronising costs more than copying",
            holds = function(c)
                local bytes = c.tile_n * c.tile_k * 2
                return bytes >= 4096, bytes, 4096
            end,
        },
        {
            name = "stages_idle",
            reason = "one block's bytes being copied with a stage less: that already hides the latency several times over",
            holds = function(c, p, a, d)
                local bytes = (c.stages - 2) * c.tile_n * c.tile_k * 2
                local enough = 4 * bytes_to_hide(a)
                return c.stages <= 3 or bytes <= enough, bytes, enough
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
            name = "split_of_tall_tiles",
            reason = "rows of the tile: many rows fill the device without splitting the depth",
            holds = function(c)
                return c.split_k == 1 or c.tile_m <= 32, c.tile_m, 32
            end,
        },
        {
            name = "split_not_needed",
            reason = "blocks that one token gives with half the parts, per multiprocessor: the device is full without more",
            holds = function(c, p, a, d)
                local blocks = d.n_tiles * math.min(p.top_k, p.experts) * (c.split_k // 2) / a.sm_count
                return c.split_k == 1 or blocks < 2, blocks, 2
            end,
        },
        {
            name = "split_too_short",
            reason = "steps of a part: the pipeline is not filled before it drains",
            holds = function(c, p, a, d)
                return c.split_k == 1 or d.k_tiles_per_split >= c.stages, d.k_tiles_per_split, c.stages
            end,
        },
    },
}
