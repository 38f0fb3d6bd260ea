return {
    experts = 8,
    top_k = = 2,
}
