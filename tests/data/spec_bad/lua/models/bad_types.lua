return {
    experts = 2 ^ 53,
    top_k = 1.5,
    hidden = 0,
    intermediates = 14336,
    intermediate = 14336,
    gated = 1,
    activation = "sillu",
    shared = { count = 1 },
    verified = true,
    source = "made up",
    [1] = "a list part",
}
