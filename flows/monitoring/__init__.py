"""Monitoring: drift between what a model was trained on and what it sees.

May import `pipeline` and below. Begin with `drift.py`.
"""
