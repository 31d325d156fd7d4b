"""Masked prediction, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests.families.oracles.naive import mean, oracle, vectors


def places(view):
    """For each image the visible and the hidden patches, in order."""
    visible, gone = [], []
    for row in view.mask.flatten(1).tolist():
        visible.append([place for place, hidden in enumerate(row) if not hidden])
        gone.append([place for place, hidden in enumerate(row) if hidden])
    return torch.tensor(visible), gone


def pixels(images, image, place, grid):
    """The pixels of one patch, channel by channel, row by row."""
    side = images.shape[-1] // grid
    top, left = place // grid * side, place % grid * side
    return images[image, :, top : top + side, left : left + side].numpy().reshape(-1)


@oracle("mae")
def mae(module, views):
    view = views.whole[0]
    visible, gone = places(view)
    decoded = module.decoder(module.backbone.tokens(view.images, visible), visible).detach().numpy()
    terms = []
    for image, hidden in enumerate(gone):
        errors = []
        for place in hidden:
            patch = pixels(view.images, image, place, module.backbone.grid)
            scale = math.sqrt(float(np.var(patch, ddof=1)) + 1e-6)
            target = (patch - patch.mean()) / scale
            errors.append(mean(list((decoded[image, place] - target) ** 2)))
        terms.append(mean(errors))
    return mean(terms)


@oracle("simmim")
def simmim(module, views):
    view = views.whole[0]
    mask = view.mask.flatten(1)
    shown = module.backbone.tokens(view.images, hidden=mask, mask_token=module.mask_token)
    decoded = module.decoder(shown).detach().numpy()
    terms = []
    for image, hidden in enumerate(places(view)[1]):
        errors = [
            np.abs(decoded[image, place] - pixels(view.images, image, place, module.backbone.grid))
            for place in hidden
        ]
        terms.append(mean([float(error.mean()) for error in errors]))
    return mean(terms)


@oracle("ijepa")
def ijepa(module, views):
    view = views.whole[0]
    visible, gone = places(view)
    predicted = module.predictor(module.backbone.tokens(view.images, visible), visible)
    teacher = module.teacher[0].tokens(view.images)
    terms = []
    for image, hidden in enumerate(gone):
        for place in hidden:
            goal = vectors(teacher[image, place][None])[0]
            goal = (goal - goal.mean()) / math.sqrt(float(np.var(goal)) + 1e-5)
            for guess, value in zip(vectors(predicted[image, place][None])[0], goal, strict=True):
                gap = abs(guess - value)
                terms.append(0.5 * gap**2 if gap < 1 else gap - 0.5)
    return mean(terms)


@oracle("denoising")
def denoising(module, views):
    view = views.whole[0]
    images = view.images.clone()
    for image, rows in enumerate(view.mask.tolist()):
        for y, row in enumerate(rows):
            for x, blank in enumerate(row):
                if blank:
                    images[image, :, y, x] = 0
    restored = vectors(module.decoder(module.backbone(images)))
    clean = vectors(view.images.flatten(1))
    return mean([float(((a - b) ** 2).mean()) for a, b in zip(restored, clean, strict=True)])
