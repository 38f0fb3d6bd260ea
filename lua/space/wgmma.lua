-- wgmma: grouped GEMM with wgmma, the copy engine and warps with roles, for sm_90a (templates/wgmma.tmpl).
-- Two sets of accumulators: sums, and the products of a step that are scaled before they are added.
local function scales_steps(p)
    return p.scheme == "fp8_w8a8_block"
end

return {
    doc = "wgmma, tensor-map copies, barriers in shared memory, persistent blocks; sm_90a",
    template = "templates/wgmma.tmpl",
    primitives = "hopper",
    ops = { "gemm1", "gemm1_act", "gemm1_quantise", "gemm2", "gemm2_combine" },
    schemes = {
        "bf16", "fp16",
        "fp8_w8a8", "fp8_w8a8_channel", "fp8_w8a8_block",
        "int4_w4a16", "int4_w4a16_fp16", "int4_w4a16_zp", "int4_w4a16_zp_fp16",
        "int4_w4a16_g64", "int4_w4a16_g64_fp16", "int4_w4a16_g64_zp", "int4_w4a16_g64_zp_fp16",
        "int4_w4a16_g32", "int4_w4a16_g32_fp16", "int4_w4a16_g32_zp", "int4_w4a16_g32_zp_fp16",
    },
    layouts = { "interleaved8" },
    needs = { "wgmma", "tma" },
    tunables = {
        {
            name = "tile_m",
            unit = "rows",
            values = { 8, 16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 256 },
            default = 16,
            doc = "rows of one expert that a block computes at a time",
        },
        {
            name = "tile_n",
            unit = "columns",
            values = { 64, 128, 192, 256 },
            default = 128,
            doc = "weight rows of a block at a time: output columns, or gate and up of half as many",
        },
        {
            name = "orientation",
            unit = "choice",
            values = { 1, 2 },
            default = 2,
            doc = "1: input rows are the rows of wgmma (64 and more); 2: weight rows are, and input rows its columns (8 and more)",
        },
        {
            name = "input_load",
            unit = "choice",
            values = { 1, 2 },
            default = 1,
            doc = "1: input rows are gathered by cp.async; 2: boxes of sorted rows by the copy engine (gemm1: a first pass sorts them)",
        },
        {
            name = "step_bytes",
            unit = "bytes",
            values = { 128, 256, 512 },
            default = 128,
            doc = "depth of a step; deep steps read longer runs of memory at a time",
        },
        {
            name = "consumers",
            unit = "warpgroups",
            values = { 1, 2 },
            default = 1,
            doc = "warpgroups that multiply; they share the rows of wgmma",
        },
        {
            name = "schedule",
            unit = "choice",
            values = { 1, 2, 3 },
            default = 1,
            rare = { 3 },
            doc = "1: consumers share a tile's rows; 2: two take tiles in turns, one stores while the other multiplies; "
                .. "3: as 1, and blocks share the depth of a last, partial turn",
        },
        {
            name = "producers",
            unit = "warps",
            values = { 2, 4 },
            default = 2,
            doc = "warps that load: one for weights, the others for input rows; four, alone on a multiprocessor, hand registers over",
        },
        {
            name = "cluster",
            unit = "blocks",
            values = { 1, 2 },
            default = 1,
            doc = "blocks of neighbouring tiles that load once what they share, by multicast",
        },
        {
            name = "cluster_of",
            unit = "choice",
            values = { 1, 2 },
            default = 1,
            doc = "what a cluster shares: 1: weights, by neighbouring row tiles; 2: boxes of input rows, by neighbouring column tiles",
        },
        {
            name = "group_m",
            unit = "row tiles",
            values = { 1, 8 },
            default = 1,
            doc = "row tiles walked before the next column tile, so that weights are found in L2",
        },
        {
            name = "blocks_per_sm",
            unit = "blocks",
            values = { 1, 2, 3, 4 },
            default = 2,
            doc = "resident blocks of a multiprocessor: one stores while another multiplies",
        },
    },
    rules = {
        {
            name = "orientation_of_rows",
            reason = "rows of the tile: few rows as wgmma's columns, many as its rows",
            holds = function(c)
                if c.orientation == 1 then
                    return c.tile_m >= 64, c.tile_m, 64
                end
                return c.tile_m <= 208, c.tile_m, 208
            end,
        },
        {
            name = "loaders_enough",
            reason = "warps that load: two for boxes and few rows, four to gather many",
            holds = function(c, p)
                local large = c.tile_m * c.tile_n > 32768 or scales_steps(p)
                local boxes = c.input_load == 2 and c.schedule == 1 and not large
                local few = boxes or c.tile_m < 64 or c.blocks_per_sm > 1
                local many = c.input_load == 1 and c.tile_m >= 96 and c.blocks_per_sm == 1
                local least, most = many and 4 or 2, few and 2 or 4
                return c.producers >= least and c.producers <= most, c.producers, many and least or most
            end,
        },
        {
            name = "turns_of_tall_tiles",
            reason = "rows of the tile: turns hide the stores of many rows; for few, more blocks do",
            holds = function(c)
                return c.schedule ~= 2 or c.tile_m >= 64, c.tile_m, 64
            end,
        },
        {
            name = "turns_of_one_block",
            reason = "blocks a multiprocessor: of two, one's stores are hidden by the other without turns",
            holds = function(c)
                return c.schedule ~= 2 or c.blocks_per_sm == 1, c.blocks_per_sm, 1
            end,
        },
        {
            name = "shared_heights",
            reason = "rows of the tile: sharing evens out what finer heights would save; a power of two is near enough",
            holds = function(c)
                return c.schedule ~= 3 or c.tile_m & (c.tile_m - 1) == 0, c.tile_m, 0
            end,
        },
        {
            name = "shared_sums",
            reason = "sums of a thread where blocks share depth: of more the compiler spills a register or two",
            holds = function(c)
                local sums, room = c.tile_m * c.tile_n / (128 * c.consumers), c.consumers > 1 and c.input_load == 2
                local most = room and 128 or 96
                return c.schedule ~= 3 or sums <= most, sums, most
            end,
        },
        {
            name = "shared_shallow_steps",
            reason = "bytes of depth in a step of tiles that blocks share: deep steps gained nothing where depth is not scarce",
            holds = function(c)
                return c.schedule ~= 3 or c.step_bytes == 128, c.step_bytes, 128
            end,
        },
        {
            name = "deep_steps",
            reason = "rows of the tile: deep steps are for streaming weights past few rows",
            holds = function(c)
                local most = c.step_bytes > 256 and 64 or 80
                return c.step_bytes == 128 or c.tile_m <= most, c.tile_m, most
            end,
        },
        {
            name = "cluster_of_tall_tiles",
            reason = "rows of the tile: neighbours share in groups of many rows only",
            holds = function(c)
                return c.cluster == 1 or c.tile_m >= 96, c.tile_m, 96
            end,
        },
        {
            name = "cluster_of_one_block",
            reason = "blocks a multiprocessor: tiles that are worth sharing leave no room for two",
            holds = function(c)
                return c.cluster == 1 or c.blocks_per_sm == 1, c.blocks_per_sm, 1
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
            name = "multiprocessor_full",
            reason = "accumulators of a multiprocessor's blocks, in KiB: below this a larger tile, or one more block, fits",
            holds = function(c, p)
                local kib = c.tile_m * c.tile_n * 4 * c.blocks_per_sm / 1024 * (scales_steps(p) and 2 or 1)
                return c.orientation == 2 or kib >= 64, kib, 64
            end,
        },
        {
            name = "columns_wasted",
            reason = "share of computed columns that do not exist, with a narrower tile at hand",
            holds = function(c, p, a, d)
                local wasted = 1 - p.n / (d.n_tiles * c.tile_n)
                return c.tile_n == 64 or wasted <= 0.2, wasted, 0.2
            end,
        },
    },
}
