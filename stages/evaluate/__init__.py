"""The test split, read once: every model, frozen and fine-tuned, at every label budget, with
intervals and one page to read.
"""
