-- OLMoE-1B-7B.
return {
    hf_ids = { "allenai/OLMoE-1B-7B-0924", "allenai/OLMoE-1B-7B-0924-Instruct" },
    experts = 64,
    top_k = 8,
    hidden = 2048,
    intermediate = 1024,
    gated = true,
    activation = "silu",
    verified = true,
    source = "config.json: num_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "top-k weights are not renormalised",
}
