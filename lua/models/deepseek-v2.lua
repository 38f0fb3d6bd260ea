-- DeepSeek-V2.
return {
    hf_ids = { "deepseek-ai/DeepSeek-V2", "deepseek-ai/DeepSeek-V2-Chat" },
    experts = 160,
    top_k = 6,
    hidden = 5120,
    intermediate = 1536,
    gated = true,
    activation = "silu",
    shared = { count = 2, intermediate = 3072 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "8 expert groups, 3 of them chosen; the first layer is dense; top-k weights are scaled by"
        .. " 16 (recalled), not renormalised",
}
