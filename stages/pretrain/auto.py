"""Automatic settings of pretraining: backbone, stem, epochs and control, sized to the images and
the budget.
"""

from __future__ import annotations

import math

from stages.core.budget import operations, resolve_budget
from stages.core.image.backbone_choice import choose_backbone
from stages.core.image.backbones import create_backbone
from stages.core.models.start import Start
from stages.core.params import Params
from stages.core.starts import NO_METHOD

FEWEST_EPOCHS, MOST_EPOCHS = 2, 400
VIEWS = 2
"""Views per image that the budget is counted in."""


def resolve_auto(
    params: Params, channels: int, size: int, images: int, start: Start | None = None
) -> tuple[Params, list[str]]:
    """Return the parameters with every ``auto`` of ``pretrain`` filled in, and one sentence per
    choice.

    Args:
        channels, size: of the stored images.
        images: number of images to pretrain on.
        start: given weights, whose network ``backbone: auto`` stands for.

    Raises:
        ConfigError: the network of the start is not known.
    """
    if start is not None:
        params = start.resolved(params, size)
    own, budget, notes = params.pretrain, resolve_budget(params.budget, size), []
    changes: dict[str, object] = {}
    if own.backbone == "auto":
        choice = choose_backbone(size)
        changes |= {"backbone": choice.name}
        if own.stem == "auto":
            changes["stem"] = choice.stem
        notes.append(f"backbone {choice.why}")
    trains = own.method != NO_METHOD
    if own.control == "auto":
        changes["control"] = "instance" if budget.name == "thorough" and trains else None
    own = own.model_copy(update=changes)
    if own.epochs == "auto" and (trains or own.control is not None):
        network = create_backbone(own.backbone, channels, size, params.seed, own.stem)
        cost = operations(network, channels, size) / 1e12
        affordable = budget.pretrain / (cost * VIEWS * max(1, images))
        epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.floor(affordable)))
        notes.append(
            f"{epochs} epochs of {images:,} images, budget {budget.name}"
            f" ({1e6 * cost:,.0f} million operations an image and view)"
        )
        own = own.model_copy(update={"epochs": epochs})
    return params.model_copy(update={"pretrain": own}), notes
