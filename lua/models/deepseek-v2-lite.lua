-- DeepSeek-V2-Lite.
return {
    hf_ids = { "deepseek-ai/DeepSeek-V2-Lite", "deepseek-ai/DeepSeek-V2-Lite-Chat" },
    experts = 64,
    top_k = 6,
    hidden = 2048,
    intermediate = 1408,
    gated = true,
    activation = "silu",
    shared = { count = 2, intermediate = 2816 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
}
