-- MiniMax-M2 and M2.5.
return {
    hf_ids = { "MiniMaxAI/MiniMax-M2", "MiniMaxAI/MiniMax-M2.5" },
    experts = 256,
    top_k = 8,
    hidden = 3072,
    intermediate = 1536,
    gated = true,
    activation = "silu",
    verified = true,
    source = "config.json: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "62 layers; sigmoid router with bias, renormalised; released in fp8 with 128x128 blocks",
}
