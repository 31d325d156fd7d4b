"""One file per encoder: ``encode(images (n, C, S, S) uint8, argument) → (n, D)`` and ``VERSION``, part of the cache key."""
