-- Granite 3.0 1B-A400M.
return {
    hf_ids = { "ibm-granite/granite-3.0-1b-a400m-base", "ibm-granite/granite-3.0-1b-a400m-instruct" },
    experts = 32,
    top_k = 8,
    hidden = 1024,
    intermediate = 512,
    gated = true,
    activation = "silu",
    verified = false,
    source = "recalled",
    note = "vLLM's own benchmark table lists other numbers",
}
