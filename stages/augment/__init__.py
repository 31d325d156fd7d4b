"""Augment: turn the name of a view policy into the policy itself, and show what it does to the
images.
"""
