-- DBRX.
return {
    hf_ids = { "databricks/dbrx-base", "databricks/dbrx-instruct" },
    experts = 16,
    top_k = 4,
    hidden = 6144,
    intermediate = 10752,
    gated = true,
    activation = "silu",
    verified = true,
    source = "config.json: ffn_config.moe_num_experts, moe_top_k, ffn_hidden_size; d_model",
    note = "40 layers; top-k weights are normalised to sum 1",
}
