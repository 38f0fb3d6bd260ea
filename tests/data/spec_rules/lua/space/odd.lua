-- Rules that go wrong in every way a rule can; test_models.c asks each.
return {
    doc = "rules that fail",
    template = "templates/reference.tmpl",
    ops = { "gemm1" },
    tunables = { { name = "tile_m", unit = "rows", values = { 16, 32 }, default = 16, doc = "rows" } },
    rules = {
        { name = "misspelt", reason = "r", holds = function(c) return c.tile_q > 1 end },
        { name = "writes", reason = "r", holds = function(c) c.tile_m = 1 return true end },
        { name = "forgets", reason = "r", holds = function() end },
        { name = "endless", reason = "r", holds = function() while true do pcall(error) end end },
        { name = "writes_arch", reason = "r", holds = function(c, p, a) a.regs_sm = 1 return true end },
        { name = "numbers", reason = "plain reason", holds = function() return false, 3, 2 end },
        { name = "silent", reason = "no numbers", holds = function() return false end },
        {
            name = "reads",
            reason = "r",
            holds = function(c, p, a, d)
                return c.tile_m == 16 and p.n == 28672 and p.k == 4096 and p.op == "gemm1" and p.gated and not p.bias
                    and a.name == "sm_90a" and a.features.wgmma and not a.features.mfma and d.n_tiles == 7 and d.own == 5
            end,
        },
    },
}
