-- Qwen3.5-35B-A3B: the layer of the W4A16 study on gfx11 (both prefill GEMMs over five routings).
return {
    hf_ids = { "Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.6-35B-A3B" },
    experts = 256,
    top_k = 8,
    hidden = 2048,
    intermediate = 512,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 512 },
    verified = false,
    source = "experts per layer and token: the model's page in Transformers' manual; sizes: the study's (K 2048 and 512)",
    note = "Qwen3.6-35B-A3B has the same architecture",
}
