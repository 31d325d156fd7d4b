"""Ways to make a classifier from labels, named by ``finetune.candidates``: one file each.

A member defines ``fit(context)``, which returns a :class:`~stages.core.transfer.finetune.Candidate`
judged on validation, or None where there is nothing to do (no unlabelled image, say), and
``ENCODER``, whether it starts from a pretrained encoder. May import everything in ``stages.core``.
"""
