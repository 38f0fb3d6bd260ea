return {
    doc = "wrong in every part",
    template = "templates/mma.tmpll",
    ops = { "gemm1", "gemm3" },
    schemes = { "bf17" },
    needs = { "mma_bf61" },
    tunables = {
        { name = "tile_m", unit = "rows", values = { 16, 64, 32 }, default = 16, doc = "not ascending" },
        { name = "tile_m", unit = "rows", values = { 16 }, default = 17, doc = "twice, and no such default" },
        {
            name = "Tile",
            unit = "rows",
            values = { 1 },
            default = 1,
            rare = { 1, 2 },
            doc = "letters",
        },
    },
    rules = {
        { name = "same", reason = "r", holds = function() return true end },
        { name = "same", reason = "r", holds = function() return true end },
    },
}
