"""Data versions: tags, differences and contact sheets.

May import `registry` and below. Begin with `versions.py`.
"""
