"""Ways to distil an encoder into a smaller one, named by ``distill.method``: one file each.

A member defines ``Settings`` and ``Method``, a
:class:`~stages.distill.distillation.Distillation` with its loss.
"""
