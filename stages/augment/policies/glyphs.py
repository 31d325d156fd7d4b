"""Written signs and other small grey shapes: never mirrored (a mirrored sign is another sign),
moved and damaged instead.
"""

from __future__ import annotations

from stages.core.image.views.policy import Policy

CHANNELS = (1, 3)


def policy(channels: int, size: int) -> Policy:
    """Small turns, shifts and shears, a crop that keeps most of the sign, a hole, some noise."""
    move = {
        "op": "affine",
        "degrees": 15.0,
        "translate": (0.08, 0.08),
        "scale": (0.85, 1.15),
        "shear": 10.0,
    }
    contrast = {"op": "jitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.0, "hue": 0.0}
    hole = {"op": "erase", "probability": 0.3, "scale": (0.02, 0.15)}
    noise = {"op": "noise", "probability": 0.5, "sigma": (0.0, 0.1)}
    view = (move, {"op": "crop", "scale": (0.6, 1.0)}, contrast, hole, noise)
    local = (move, {"op": "crop", "scale": (0.25, 0.6)}, contrast, noise)
    colour = "grey" if channels == 1 else "colour"
    why = (
        f"{colour} at {size} px, shapes whose mirror image means something else: moved, cut and"
        " noised, not flipped"
    )
    return Policy(name="glyphs", why=why, views=(view,), local=local)
