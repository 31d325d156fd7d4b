"""One file per audit: ``Settings`` with a ``severity``, and ``audit(pool, settings) → list of
Answers``.
"""
