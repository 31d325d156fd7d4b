"""The model registry: versions, aliases, packaging and registration.

May import `project`, `adapters` and `process`. Begin with `versions.py`.
"""
