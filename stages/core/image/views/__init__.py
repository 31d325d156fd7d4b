"""Image views: the engine, its policies, operations and masks.

Begin with `engine.py`; an operation is one file in `ops/`.
"""
