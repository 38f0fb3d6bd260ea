-- Hunyuan-A13B.
return {
    hf_ids = { "tencent/Hunyuan-A13B-Instruct" },
    experts = 64,
    top_k = 8,
    hidden = 4096,
    intermediate = 3072,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 3072 },
    verified = true,
    source = "config.json: num_experts, moe_topk[0], hidden_size, moe_intermediate_size[0]",
    note = "32 layers; its config.json lists values per layer",
}
