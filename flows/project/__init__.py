"""The project directory: environment, params.yaml, worktrees and the doctor.

May import `adapters` and `process`. Begin with `environment.py`.
"""
