-- Phi-3.5-MoE.
return {
    hf_ids = { "microsoft/Phi-3.5-MoE-instruct" },
    experts = 16,
    top_k = 2,
    hidden = 4096,
    intermediate = 6400,
    gated = true,
    activation = "silu",
    verified = true,
    source = "config.json: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "32 layers; its router (sparsemixer) is not a plain top-k; weights are not renormalised",
}
