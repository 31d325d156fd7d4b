"""The light form of a policy: where a thing is may change, how it looks may not. For distillation
and supervised training.
"""

from __future__ import annotations

from typing import Any

from stages.core.image.views.policy import GEOMETRY, Policy

UPRIGHT = 45.0
"""Degrees above which a policy turns images about, and not only tilts them."""
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


def supervised_views(policy: Policy) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return the augmentations that training from labels chooses among on validation.

    ``crop`` shows half of an image or more; ``gentle`` keeps its size, which may be what tells
    classes apart. Both mirror and turn images where the policy does, and change colours a little.
    """
    names = {op["op"] for op in policy.views[0]} if policy.views else set()
    degrees = max(
        (op.get("degrees", 0.0) for op in policy.views[0] if op["op"] == "affine"), default=0.0
    )
    turn = degrees if degrees > UPRIGHT else 0.0
    mirror = tuple({"op": "flip"} for _ in range("flip" in names))
    turns = tuple({"op": "affine", "degrees": turn} for _ in range(turn > 0))
    gentle = {
        "op": "affine",
        "degrees": turn or 15.0,
        "translate": (0.08, 0.08),
        "scale": (0.85, 1.15),
        "shear": 5.0,
    }
    colours = {
        "op": "jitter",
        "probability": 1.0,
        "brightness": 0.3,
        "contrast": 0.3,
        "saturation": 0.3,
        "hue": 0.05,
    }
    return {
        "crop": (*turns, {"op": "crop", "scale": (0.5, 1.0)}, *mirror, colours),
        "gentle": (gentle, *mirror, colours),
    }
