-- Qwen3-30B-A3B and its Coder.
return {
    hf_ids = {
        "Qwen/Qwen3-30B-A3B",
        "Qwen/Qwen3-30B-A3B-Base",
        "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "Qwen/Qwen3-30B-A3B-Thinking-2507",
        "Qwen/Qwen3-Coder-30B-A3B-Instruct",
    },
    experts = 128,
    top_k = 8,
    hidden = 2048,
    intermediate = 768,
    gated = true,
    activation = "silu",
    verified = true,
    source = "config.json: num_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "48 layers; top-k weights are renormalised",
}
