-- Llama 4 Maverick.
return {
    hf_ids = {
        "meta-llama/Llama-4-Maverick-17B-128E",
        "meta-llama/Llama-4-Maverick-17B-128E-Instruct",
    },
    experts = 128,
    top_k = 1,
    hidden = 5120,
    intermediate = 8192,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 8192 },
    verified = true,
    source = "config.json, text_config: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "every second layer is MoE; the router's weight multiplies the expert's input, here it "
        .. "multiplies the output",
}
