"""Choice of a backbone for the images and the budget at hand: what ``pretrain.backbone: auto``
stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stages.core.budget import SIGNS

SMALL = 48
"""Side in pixels below which a picture has no detail to spare in the stem."""


@dataclass(frozen=True)
class BackboneChoice:
    """A network by name, its stem, and one sentence that says why."""

    name: str
    stem: Literal["small", "half", "standard"]
    why: str


def choose_backbone(size: int) -> BackboneChoice:
    """Return the network for stored images of ``size`` pixels a side.

    What is chosen was compared on validation images of the data sets that docs/notes/recipes.md
    names: at equal work a ResNet-10-T of half width is ahead of ``test_resnet`` and of thinner
    ResNet-18s on all of them.
    """
    if size <= SIGNS:
        why = f"test_resnet, since images of {size} px need no more"
        return BackboneChoice("test_resnet", "half", why)
    stem: Literal["half", "standard"] = "half" if size < SMALL else "standard"
    why = f"a ResNet-10-T of half width, which the budget can train at {size} px"
    return BackboneChoice("resnet10t@0.5", stem, why)
