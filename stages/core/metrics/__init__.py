"""Metrics: pure functions from arrays to scores, and intervals.

May import the modules of core.
"""
