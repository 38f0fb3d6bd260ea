-- Granite 3.0 3B-A800M.
return {
    hf_ids = { "ibm-granite/granite-3.0-3b-a800m-base", "ibm-granite/granite-3.0-3b-a800m-instruct" },
    experts = 40,
    top_k = 8,
    hidden = 1536,
    intermediate = 512,
    gated = true,
    activation = "silu",
    verified = false,
    source = "recalled",
    note = "vLLM's own benchmark table lists other numbers",
}
