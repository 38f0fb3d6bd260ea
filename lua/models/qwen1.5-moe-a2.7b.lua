-- Qwen1.5-MoE-A2.7B.
return {
    hf_ids = { "Qwen/Qwen1.5-MoE-A2.7B", "Qwen/Qwen1.5-MoE-A2.7B-Chat" },
    experts = 60,
    top_k = 4,
    hidden = 2048,
    intermediate = 1408,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 5632 },
    verified = true,
    source = "config.json: num_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "the shared expert has a gate of its own; top-k weights are not renormalised",
}
