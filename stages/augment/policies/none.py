"""No augmentation: every view is the clean image. A control."""

from __future__ import annotations

from stages.core.image.views.policy import Policy

CHANNELS = (1, 3)


def policy(channels: int, size: int) -> Policy:
    """Nothing."""
    return Policy(
        name="none", why="a control: every view is the clean image", views=((),), local=()
    )
