-- Jamba.
return {
    hf_ids = { "ai21labs/Jamba-v0.1" },
    experts = 16,
    top_k = 2,
    hidden = 4096,
    intermediate = 14336,
    gated = true,
    activation = "silu",
    verified = false,
    source = "config.json: num_experts, num_experts_per_tok, intermediate_size; hidden: recalled",
    note = "every second layer is MoE; top-k weights are not renormalised",
}
