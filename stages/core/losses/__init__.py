"""Losses: pure functions of embeddings, by kind; across processes they gather what they compare."""
