"""The pretrained encoder into a student at most half its size, by feature regression on unlabelled
images.
"""
