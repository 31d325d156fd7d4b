"""Data: manifest, shards, folders and sources.

May import `metrics`, `views` and the modules of core. Begin with `manifest.py`.
"""
