"""A policy fitted to the images: crops and mild colour changes, flips and turns where they change
nothing.
"""

from __future__ import annotations

from typing import Any

from stages.core.image.views.policy import Policy

CHANNELS = (1, 3)


def policy(channels: int, size: int, flips: bool = True, turns: bool = False) -> Policy:
    """Crop and jitter; ``flips`` adds mirror images, ``turns`` any rotation."""
    moves: list[dict[str, Any]] = [{"op": "affine", "degrees": 180.0}] if turns else []
    mirror = [{"op": "flip"}] if flips else []
    jitter = {"op": "jitter", "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05}
    scale = (0.2, 1.0) if flips else (0.4, 1.0)
    view = (*moves, {"op": "crop", "scale": scale}, *mirror, jitter)
    local = (*moves, {"op": "crop", "scale": (0.05, 0.25)}, *mirror, jitter)
    allowed = " and ".join(["flips"] * flips + ["turns"] * turns) or "neither flips nor turns"
    colour = "grey" if channels == 1 else "colour"
    why = f"{colour} at {size} px: crops and mild jitter, {allowed}"
    return Policy(name="fitted", why=why, views=(view,), local=local)
