"""The engine: uint8 images in, augmented and normalised views out, in batches, on the device the
images lie on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from stages.core import plugins
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.policy import GEOMETRY, OPS, Policy, settings
from stages.core.image.views.warp import Warp
from stages.core.views.draws import Drawn, OpSettings
from stages.core.views.plan import ViewPlan

MASKS = "stages.core.image.views.masks"
Draws = list[dict[str, Drawn]]
"""Per view, what each operation drew, one row per image."""


@dataclass(frozen=True)
class View:
    """One view of every image of a batch.

    Attributes:
        images: ``(N, C, H, W)`` float32, normalised. drawn: what each operation drew, by its name.
        mask: ``(N, P, P)`` bool on the patch grid, true where hidden, if the objective asked for
        one. warp: where its pixels were read.
    """

    images: Tensor
    drawn: Mapping[str, Drawn]
    mask: Tensor | None = None
    warp: Warp | None = None


@dataclass(frozen=True)
class Views:
    """All views of a batch.

    Attributes:
        whole: full-size views.
        local: small crops.
        index: ``(N,)`` int64, which pretraining image each row is.
        chances: ``(N, k)`` uniform on 0…1, if the objective asked for them.
    """

    whole: tuple[View, ...]
    local: tuple[View, ...]
    index: Tensor
    chances: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """The full-size views stacked: ``(V·N, C, H, W)``, view by view."""
        return (
            torch.cat([view.images for view in self.whole])
            if len(self.whole) > 1
            else self.whole[0].images
        )


@dataclass(frozen=True)
class _Step:
    name: str
    module: ModuleType
    settings: OpSettings


class ViewEngine:
    """Draws and applies what a policy says, as often as an objective asks."""

    def __init__(self, policy: Policy, plan: ViewPlan, preprocess: Preprocess) -> None:
        self.plan, self.preprocess = plan, preprocess
        self.whole = [_steps(ops) for ops in policy.views]
        self.local = _steps(policy.local)
        side = preprocess.size
        self.size = (side, side)
        self.local_size = (round(side * plan.local_size),) * 2

    def sample(self, n: int, generator: torch.Generator) -> Draws:
        """Draw every view of ``n`` images. All of it happens on the CPU: a few numbers per
        image.
        """
        draws: Draws = []
        for number in range(self.plan.whole):
            drawn = _sample(self.whole[number % len(self.whole)], n, self.size, generator)
            if self.plan.mask is not None:
                mask = plugins.load(MASKS, self.plan.mask)
                drawn["mask"] = {
                    "mask": mask.sample(n, self.plan.patches, self.plan.mask_ratio, generator)
                }
            draws.append(drawn)
        draws += [_sample(self.local, n, self.size, generator) for _ in range(self.plan.local)]
        if self.plan.chances:
            draws[0]["chances"] = {"chances": torch.rand(n, self.plan.chances, generator=generator)}
        return draws

    def apply(self, images: Tensor, draws: Draws, index: Tensor) -> Views:
        """Make the views of uint8 images ``(N, C, H, W)`` whose draws are given; ``index`` ``(N,)``
        names the images.
        """
        pixels = images.float().div_(255)
        made = []
        for number, drawn in enumerate(draws):
            whole = number < self.plan.whole
            steps = self.whole[number % len(self.whole)] if whole else self.local
            view, warp = _apply(steps, pixels, drawn, self.size if whole else self.local_size)
            view = self.preprocess.normalise(view).contiguous(memory_format=torch.channels_last)
            mask = drawn["mask"]["mask"].to(images.device) if "mask" in drawn else None
            made.append(View(view, drawn, mask, warp))
        found = draws[0].get("chances")
        chances = found["chances"].to(images.device) if found else None
        whole_views, local_views = made[: self.plan.whole], made[self.plan.whole :]
        return Views(tuple(whole_views), tuple(local_views), index, chances)


def part(draws: Draws, rows: slice) -> Draws:
    """The draws of some images of a batch: how a global batch is split over processes and
    accumulation steps.
    """
    return [
        {op: {name: value[rows] for name, value in drawn.items()} for op, drawn in view.items()}
        for view in draws
    ]


def augment(
    policy_ops: tuple[dict[str, Any], ...], images: Tensor, generator: torch.Generator
) -> Tensor:
    """One augmented view in 0…1, not normalised: ``(N, C, H, W)`` uint8 in, float32 out (previews,
    supervised training).
    """
    steps, size = _steps(policy_ops), (images.shape[2], images.shape[3])
    return _apply(
        steps, images.float().div_(255), _sample(steps, len(images), size, generator), size
    )[0]


def _steps(ops: tuple[dict[str, Any], ...]) -> list[_Step]:
    return [_Step(op["op"], plugins.load(OPS, op["op"]), settings(op)) for op in ops]


def _sample(
    steps: list[_Step], n: int, size: tuple[int, int], generator: torch.Generator
) -> dict[str, Drawn]:
    return {step.name: step.module.sample(n, size, step.settings, generator) for step in steps}


def _apply(
    steps: list[_Step], pixels: Tensor, drawn: dict[str, Drawn], size: tuple[int, int]
) -> tuple[Tensor, Warp]:
    warp = Warp.of(pixels)
    moved = size != tuple(pixels.shape[2:])
    for step in steps:
        if step.name in GEOMETRY:
            warp, moved = step.module.place(warp, drawn[step.name]), True
    view = warp.apply(pixels, size) if moved else pixels
    for step in steps:
        if step.name not in GEOMETRY:
            view = step.module.apply(view, drawn[step.name])
    return view, warp
