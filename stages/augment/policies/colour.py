"""Colour photographs of 64 px and more: the asymmetric recipe of BYOL, blur always in one view,
solarise in the other.
"""

from __future__ import annotations

from stages.core.image.views.policy import Policy

CHANNELS = (3,)


def policy(channels: int, size: int) -> Policy:
    """Crop, flip, jitter, grey, blur; solarise in the second view."""
    jitter = {"op": "jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
    colour = ({"op": "flip"}, jitter, {"op": "grey"})
    crop = {"op": "crop", "scale": (0.2, 1.0)}
    first = (crop, *colour, {"op": "blur", "probability": 1.0})
    second = (
        crop,
        *colour,
        {"op": "blur", "probability": 0.1},
        {"op": "solarise", "probability": 0.2},
    )
    local = ({"op": "crop", "scale": (0.05, 0.25)}, *colour, {"op": "blur", "probability": 0.5})
    why = (
        f"colour at {size} px: crop, flip, jitter and grey, blur in the first view, solarise in the"
        " second"
    )
    return Policy(name="colour", why=why, views=(first, second), local=local)
