"""Evaluation of registered versions: predictions, comparison and ranking.

May import `data`, `serving` and below. Begin with `comparison.py`.
"""
