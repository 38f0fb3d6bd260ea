-- GLM-4.5, and 4.6 and 4.7 of the same shape.
return {
    hf_ids = { "zai-org/GLM-4.5", "zai-org/GLM-4.6", "zai-org/GLM-4.7" },
    experts = 160,
    top_k = 8,
    hidden = 5120,
    intermediate = 1536,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 1536 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "sigmoid router with bias, grouped top-k; the first 3 layers are dense",
}
