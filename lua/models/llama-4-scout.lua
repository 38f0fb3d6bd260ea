-- Llama 4 Scout.
return {
    hf_ids = { "meta-llama/Llama-4-Scout-17B-16E", "meta-llama/Llama-4-Scout-17B-16E-Instruct" },
    experts = 16,
    top_k = 1,
    hidden = 5120,
    intermediate = 8192,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 8192 },
    verified = true,
    source = "config.json, text_config: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "48 layers; sigmoid router; the router's weight multiplies the expert's input, here it "
        .. "multiplies the output",
}
