-- DeepSeek-V3 and R1.
return {
    hf_ids = {
        "deepseek-ai/DeepSeek-V3",
        "deepseek-ai/DeepSeek-V3-Base",
        "deepseek-ai/DeepSeek-V3-0324",
        "deepseek-ai/DeepSeek-R1",
        "deepseek-ai/DeepSeek-R1-0528",
        "deepseek-ai/DeepSeek-V3.1",
    },
    experts = 256,
    top_k = 8,
    hidden = 7168,
    intermediate = 2048,
    gated = true,
    activation = "silu",
    shared = { count = 1, intermediate = 2048 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "3 of 61 layers are dense; recalled: 8 groups, 4 chosen, sigmoid with bias, weights "
        .. "scaled by 2.5; released in fp8 with 128x128 blocks",
}
