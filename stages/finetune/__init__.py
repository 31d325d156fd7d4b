"""The distilled encoder and a few labels into a classifier: a linear probe or full fine-tuning,
whichever validates better.
"""
