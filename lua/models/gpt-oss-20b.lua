-- gpt-oss-20b.
return {
    hf_ids = { "openai/gpt-oss-20b" },
    experts = 32,
    top_k = 4,
    hidden = 2880,
    intermediate = 2880,
    gated = true,
    activation = "swigluoai",
    bias = true,
    verified = true,
    source = "config.json: num_local_experts, num_experts_per_tok, hidden_size, intermediate_size",
    note = "24 layers; clamped activation (alpha 1.702, limit 7); 2880 is no multiple of 128; "
        .. "released in mxfp4",
}
