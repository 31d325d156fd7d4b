"""The light form of a policy: where a thing is may change, how it looks may not. For distillation
and supervised training.
"""

from __future__ import annotations

from typing import Any

from stages.core.image.views.policy import GEOMETRY, Policy

LEAST_CROP = 0.6
"""Share of the image that a crop keeps at least."""


def light(policy: Policy) -> tuple[dict[str, Any], ...]:
    """The moves of the policy's first view, its crops no tighter than :data:`LEAST_CROP`; no noise,
    holes or colour.
    """
    moves = [dict(op) for op in policy.views[0] if op["op"] in GEOMETRY]
    for op in moves:
        if op["op"] == "crop":
            op["scale"] = [max(LEAST_CROP, op["scale"][0]), op["scale"][1]]
    return tuple(moves)
