-- GLM-4.5-Air.
return {
    hf_ids = { "zai-org/GLM-4.5-Air" },
    experts = 128,
    top_k = 8,
    hidden = 4096,
    intermediate = 1408,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 1408 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "engines that fuse the shared expert see 129 experts",
}
