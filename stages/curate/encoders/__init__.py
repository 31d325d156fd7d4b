"""One file per encoder, found by its name in ``curate.encoder``.

Each has ``VERSION``, part of the cache key; ``identity(source, argument)``, whatever else its
features depend on besides the images (a digest of weights, for example); and ``prepare(source,
argument) → Encode``, which may train, load or fit something.
"""
