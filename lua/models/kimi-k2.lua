-- Kimi K2.
return {
    hf_ids = {
        "moonshotai/Kimi-K2-Base",
        "moonshotai/Kimi-K2-Instruct",
        "moonshotai/Kimi-K2-Instruct-0905",
        "moonshotai/Kimi-K2-Thinking",
    },
    experts = 384,
    top_k = 8,
    hidden = 7168,
    intermediate = 2048,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 2048 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "61 layers, the first is dense; top-k weights are scaled by 2.827",
}
