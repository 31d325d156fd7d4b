"""Small colour photographs, after SimCLR's recipe for CIFAR: no blur, which at this size removes
what there is to see.
"""

from __future__ import annotations

from stages.core.image.views.policy import Policy

CHANNELS = (3,)


def policy(channels: int, size: int) -> Policy:
    """Crop, flip, jitter at half strength, grey."""
    colour = ({"op": "flip"}, {"op": "jitter"}, {"op": "grey"})
    view = ({"op": "crop", "scale": (0.2, 1.0)}, *colour)
    local = ({"op": "crop", "scale": (0.05, 0.25)}, *colour)
    why = (
        f"colour at {size} px: crop, flip, jitter and grey; blur would remove what little detail"
        " there is"
    )
    return Policy(name="small_colour", why=why, views=(view,), local=local)
