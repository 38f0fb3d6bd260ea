-- Qwen2-57B-A14B.
return {
    hf_ids = { "Qwen/Qwen2-57B-A14B", "Qwen/Qwen2-57B-A14B-Instruct" },
    experts = 64,
    top_k = 8,
    hidden = 3584,
    intermediate = 2560,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 20480 },
    verified = true,
    source = "config.json: num_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "28 layers; the shared expert has a gate of its own; top-k weights are not renormalised",
}
