"""Processes: supervision, identity, signals and what a stage reports while it runs.

Imports no other package of flows. Begin with `supervised.py`.
"""
