return {
    doc = "types",
    template = "templates/mma.tmpl",
    ops = "gemm1",
    tunables = {
        { name = "tile_m", unit = "rows", values = { 16 }, default = 16, doc = "fine" },
        { name = "tile_n", unit = "columns", values = { 16, "32" }, default = 16.5, doc = "types", value = 3 },
        5,
    },
    rules = {
        { name = "rule", reason = "no function", holds = true },
    },
}
