-- Mixtral 8x7B.
return {
    hf_ids = { "mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x7B-v0.1" },
    experts = 8,
    top_k = 2,
    hidden = 4096,
    intermediate = 14336,
    gated = true,
    activation = "silu",
    verified = true,
    source = "config.json: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "softmax over the two chosen experts",
}
