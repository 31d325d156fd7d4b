"""Dataset versions × parameter sets × seeds, compared: every cell in a worktree of its own, shared
work done once.
"""
