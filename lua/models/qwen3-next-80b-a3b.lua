-- Qwen3-Next-80B-A3B.
return {
    hf_ids = { "Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen/Qwen3-Next-80B-A3B-Thinking" },
    experts = 512,
    top_k = 10,
    hidden = 2048,
    intermediate = 512,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 512 },
    verified = true,
    source = "config.json: num_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "48 layers",
}
