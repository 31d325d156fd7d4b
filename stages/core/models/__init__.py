"""Models: artifacts on disk, inference and export.

May import `image` and below. Begin with `artifact.py`.
"""
