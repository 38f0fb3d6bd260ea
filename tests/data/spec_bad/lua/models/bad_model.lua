return {
    hf_ids = { "mistralai/mixtral-8x7b-v0.1" }, -- taken, in another case
    experts = 8,
    top_k = 9,
    hidden = 4096,
    intermediate = 14336,
    gated = true,
    activation = "silu",
    verified = true,
    source = "made up",
}
