"""Ways to judge a frozen encoder at a label budget, named by ``evaluate.protocols``: one file each.

A member defines ``TITLE``, the name that a reader sees, and ``row(subject, step)``, which returns
a :class:`~stages.evaluate.ladder.Row`, or None where the protocol does not apply. Every choice is
made on validation.
"""
