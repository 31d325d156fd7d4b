"""One file per operation: ``Settings``, ``sample(n, size, settings, generator)`` and
``apply(images, drawn)``.

A geometric operation also has ``place(warp, drawn)``, which adds it to the one warp of a view.
"""
