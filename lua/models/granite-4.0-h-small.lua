-- Granite 4.0 H Small.
return {
    hf_ids = { "ibm-granite/granite-4.0-h-small" },
    experts = 72,
    top_k = 10,
    hidden = 4096,
    intermediate = 768,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 1536 },
    verified = true,
    source = "config.json: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
}
