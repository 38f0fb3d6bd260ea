-- Qwen3-235B-A22B.
return {
    hf_ids = {
        "Qwen/Qwen3-235B-A22B",
        "Qwen/Qwen3-235B-A22B-Instruct-2507",
        "Qwen/Qwen3-235B-A22B-Thinking-2507",
    },
    experts = 128,
    top_k = 8,
    hidden = 4096,
    intermediate = 1536,
    gated = true,
    activation = "silu",
    verified = false,
    source = "intermediate: vLLM PR #17619; hidden: recalled",
    note = "94 layers (recalled)",
}
