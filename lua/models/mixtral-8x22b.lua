-- Mixtral 8x22B.
return {
    hf_ids = { "mistralai/Mixtral-8x22B-Instruct-v0.1", "mistralai/Mixtral-8x22B-v0.1" },
    experts = 8,
    top_k = 2,
    hidden = 6144,
    intermediate = 16384,
    gated = true,
    activation = "silu",
    verified = true,
    source = "the shapes that AMD's aiter is tuned for",
}
