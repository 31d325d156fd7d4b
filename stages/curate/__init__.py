"""Curate: which images are worth learning from, and for every other one the reason why not."""
