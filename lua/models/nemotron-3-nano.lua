-- Nemotron 3 Nano.
return {
    hf_ids = { "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16" },
    experts = 128,
    top_k = 6,
    hidden = 2688,
    intermediate = 1856,
    gated = false,
    activation = "relu2",
    shared = { count = 1, intermediate = 3712 },
    verified = true,
    source = "config.json: n_routed_experts, num_experts_per_tok, hidden_size, moe_intermediate_size",
    note = "52 layers; not gated: gemm1 writes one column per intermediate element; top-k weights "
        .. "are scaled by 2.5",
}
