"""Symmetry of the images: whether a mirror image, or a turned one, can be told from the original.

The test needs no label. A small network learns to tell images from their transforms; where it
cannot do so on images it has not seen, the transform is a symmetry of the data and is safe as
augmentation. A written digit or a hand sign is told from its mirror image almost always, a
photograph of an object hardly ever, a cell under a microscope not even from its turned self. The
idea is that of "Visual Chirality" (2020); there the question is asked of photographs in general,
here of the data set at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from stages.core.random import address, generator

FEWEST = 60
"""Images below which the test says nothing and every transform counts as a change."""
MOST = 2000
SIDE = 32
"""Largest side of the images that are compared."""
STEPS, BATCH = 240, 64
HELD_OUT = 0.3
"""Fraction of the images held out to ask."""
TOLD_APART = 0.7
"""Held-out accuracy from which a transform changes what an image shows; 0.5 is chance."""

Transform = Callable[[Tensor], Tensor]
TRANSFORMS: dict[str, Transform] = {
    "mirrored": lambda images: images.flip(-1),
    "turned": lambda images: torch.rot90(images, 1, (-2, -1)),
}


@dataclass(frozen=True)
class Symmetry:
    """Held-out accuracy at telling images from their transforms: 0.5 is a symmetry, 1 a transform
    that is always noticed.
    """

    mirrored: float = 1.0
    turned: float = 1.0

    @property
    def flips(self) -> bool:
        """Whether left and right may be exchanged."""
        return self.mirrored < TOLD_APART

    @property
    def turns(self) -> bool:
        """Whether images have no upright position."""
        return self.turned < TOLD_APART

    def sentence(self) -> str:
        """Return what was found, and what follows for the views."""
        shares = f"{self.mirrored:.0%} of mirror images and {self.turned:.0%} of turned images"
        flips = "flips are on" if self.flips else "flips are off"
        turns = ", turns too" if self.turns else ""
        return f"a network notices {shares} (50 % is chance): {flips}{turns}"

    def as_dict(self) -> dict[str, float]:
        """The accuracies by transform, four digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def measure_symmetry(images: Tensor, seed: int) -> Symmetry:
    """Test every transform on uint8 images ``(N, C, H, W)``; of many images a seeded sample of
    :data:`MOST` is used.
    """
    if len(images) < FEWEST:
        return Symmetry()
    order = torch.randperm(len(images), generator=generator(seed, "symmetry"))[:MOST]
    side = min(SIDE, images.shape[-1])
    # Grey, since lenses leave coloured fringes that mean nothing.
    grey = images[order].float().mean(dim=1, keepdim=True) / 255
    small = nn.functional.interpolate(grey, size=(side, side), mode="bilinear", antialias=True)
    small = (small - small.mean(dim=(0, 2, 3), keepdim=True)) / small.std().clamp_min(1e-3)
    return Symmetry(
        **{name: told_apart(small, change, seed, name) for name, change in TRANSFORMS.items()}
    )


def told_apart(images: Tensor, transform: Transform, seed: int, name: str) -> float:
    """Held-out accuracy of a network trained to tell images ``(N, C, 32, 32)`` from their
    transforms.

    Each image is shifted at random by up to two pixels before it is transformed, so that nothing at
    the border, where cameras and file formats leave traces, stays in one place.
    """
    held = round(HELD_OUT * len(images))
    train, test = images[held:], images[:held]
    network = _network(images.shape[1], address(seed, "symmetry", name))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=STEPS)
    half = min(BATCH, len(train))
    labels = torch.arange(2).repeat_interleave(half)
    for step in range(STEPS):
        draw = generator(seed, "symmetry", name, step)
        picked = _shifted(train[torch.randperm(len(train), generator=draw)[:half]], draw)
        loss = nn.functional.cross_entropy(
            network(torch.cat([picked, transform(picked)])), labels, label_smoothing=0.1
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        right = torch.cat([network(test).argmax(1) == 0, network(transform(test)).argmax(1) == 1])
    return float(right.float().mean())


def _shifted(images: Tensor, draw: torch.Generator) -> Tensor:
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    top, left = torch.randint(0, 5, (2,), generator=draw).tolist()
    return padded[:, :, top : top + images.shape[2], left : left + images.shape[3]]


def _network(channels: int, seed: int) -> nn.Sequential:
    """Three strided convolutions and a pooled linear layer, drawn from the seed."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    layers: list[nn.Module] = []
    for inner, outer in ((channels, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(inner, outer, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True),
        ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 2))
    torch.default_generator.set_state(state)
    return network
