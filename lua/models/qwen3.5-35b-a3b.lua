-- Qwen3.5-35B-A3B: the layer of vLLM's W4A16 study on gfx11 (both prefill GEMMs over five routings). The study names K, N and
-- top-k; blocks of 32 that are 63 % full at 1024 tokens of zipf1, which it reports too, are what 256 experts give.
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
