"""Patch masks, one file per kind: ``sample(n, patches, ratio, generator)``, ``(n, patches,
patches)`` bool, true where hidden.

Every image has its own draw and, where the kind allows it, exactly the same number of hidden
patches, so that batches stay whole.
"""
