"""DVC: the plan, the lock file, the cache, and why a stage is stale.

May import `process`. Begin with `plan.py`.
"""
