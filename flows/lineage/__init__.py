"""Lineage: from a model to its source images, and from an image to its models.

May import `evaluation` and below. Begin with `trace.py`.
"""
