-- simple: the steps around the GEMMs and the tuner's own helpers. One template per op.
return {
    doc = "the rest of the layer: tables, quantise, activation, combine, and the tuner's helpers",
    template = "templates/%s.tmpl",
    ops = { "tables", "quantise1", "activation", "quantise2", "combine", "fill", "compare", "stream" },
    tunables = {
        {
            name = "threads",
            unit = "threads",
            values = { 1, 64, 128, 256, 512, 1024 },
            default = 256,
            doc = "threads of a block; 1 is the host's: its cores are the blocks",
        },
    },
}
