"""Promotion: evidence, gates and the move of the aliases.

May import `lineage` and below. Begin with `promote.py`; a gate is one file in `gates/`.
"""
