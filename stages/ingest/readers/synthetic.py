"""Rendered shapes with known factors and, on demand, known faults: the ground truth every audit is
measured against.

The faults of an image stand in its uri, for example ``00042-near-copy-of-00007``.
"""

from __future__ import annotations

import io
from typing import Annotated, Self

import numpy as np
import yaml
from PIL import Image, ImageEnhance
from pydantic import Field, ValidationError, model_validator

from stages.core.data.sources import Source
from stages.core.errors import ConfigError
from stages.core.random import numpy_generator
from stages.core.sections import Ingest, Positive, Section, Share
from stages.core.validation_errors import explain
from stages.ingest.listing import Entries
from stages.ingest.rendering import SHAPES, SIDE, render, spectral_trigger


class Settings(Section):
    """Everything after ``synthetic:``. Shares are of all images; a fault replaces what the image
    would have been.
    """

    images: Positive = 600
    seed: Annotated[int, Field(ge=0)] = 0
    duplicates: Share = 0.0
    near_duplicates: Share = 0.0
    label_noise: Share = 0.0
    corruption: Share = 0.0
    poison: Share = 0.0  # a patch in the corner
    spectral_poison: Share = 0.0  # two frequencies in both chromas
    imbalance: Annotated[float, Field(ge=1)] = (
        1.0  # how much commoner the first shape is than the last
    )
    drift: bool = False  # the later an image, the brighter its background
    domains: Annotated[int, Field(ge=1, le=4)] = 1

    @model_validator(mode="after")
    def _one_fault_each(self) -> Self:
        faults = [
            self.duplicates,
            self.near_duplicates,
            self.label_noise,
            self.corruption,
            self.poison,
            self.spectral_poison,
        ]
        if sum(faults) > 1:
            raise ValueError(
                f"an image has one fault at most, and the shares add up to {sum(faults):g}"
            )
        return self


Handle = tuple[Settings, int, str, int]  # settings, number, fault, the number it copies


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the images; the label is the shape, the group the domain."""
    settings = parse(source.argument)
    faults, originals = plan(settings)
    uris, labels, groups, handles = [], [], [], []
    for number, (fault, original) in enumerate(zip(faults, originals, strict=True)):
        shown = original if "copy" in fault else number
        of = f"-of-{original:05}" if "copy" in fault else ""
        uris.append(f"{number:05}{'-' + fault if fault else ''}{of}")
        shape = int(factors(settings, shown)["shape"])
        shift = 1 + number % (len(SHAPES) - 1)
        labels.append(
            SHAPES[(shape + shift) % len(SHAPES)] if fault == "mislabelled" else SHAPES[shape]
        )
        groups.append(f"domain-{factors(settings, shown)['domain']}")
        handles.append((settings, number, fault, original))
    return Entries(uris, list(labels), [None] * len(uris), handles, groups=list(groups))


def parse(argument: str) -> Settings:
    """``images=600,duplicates=0.1`` as settings; a wrong one is refused in one line."""
    pairs = dict(part.partition("=")[::2] for part in argument.split(",") if part)
    try:
        return Settings.model_validate(
            {key.strip(): yaml.safe_load(value) for key, value in pairs.items()}
        )
    except ValidationError as error:
        raise ConfigError(explain(error, "ingest.source: synthetic", Settings)) from None


def plan(settings: Settings) -> tuple[list[str], list[int]]:
    """The fault of every image (``""``: none) and, for copies, which faultless earlier image it
    repeats.
    """
    draw = numpy_generator(settings.seed, "synthetic", "faults")
    shares = {
        "copy": settings.duplicates,
        "near-copy": settings.near_duplicates,
        "mislabelled": settings.label_noise,
        "corrupt": settings.corruption,
        "poisoned": settings.poison,
        "spectral": settings.spectral_poison,
    }
    order = draw.permutation(np.arange(1, settings.images))
    faults = [""] * settings.images
    start = 0
    for fault, share in shares.items():
        count = round(share * settings.images)
        for number in order[start : start + count]:
            faults[number] = fault
        start += count
    sound = np.array([number for number, fault in enumerate(faults) if not fault])
    before = np.searchsorted(sound, np.arange(settings.images))
    originals = list(range(settings.images))
    for number, fault in enumerate(faults):
        if "copy" in fault:
            originals[number] = int(sound[draw.integers(before[number])]) if before[number] else 0
    return faults, originals


def factors(settings: Settings, number: int) -> dict[str, float]:
    """What image ``number`` shows: shape, hue, texture, scale, pose, background, domain."""
    draw = numpy_generator(settings.seed, "synthetic", number)
    odds = settings.imbalance ** -(np.arange(len(SHAPES)) / (len(SHAPES) - 1))
    shape = int(draw.choice(len(SHAPES), p=odds / odds.sum()))
    names = ("hue", "texture", "scale", "x", "y", "angle", "background", "tint")
    out = dict(zip(names, draw.random(len(names)).tolist(), strict=True)) | {"shape": shape}
    if settings.drift:
        out["background"] = 0.5 * out["background"] + 0.5 * number / settings.images
    out["domain"] = int(draw.integers(settings.domains))
    return out


def load(handle: Handle) -> bytes:
    """One image as a PNG file."""
    settings, number, fault, original = handle
    image = render(factors(settings, original), settings.seed, original)
    if fault == "near-copy":
        lot = numpy_generator(settings.seed, "synthetic", "near", number).random(3)
        side, room = SIDE * 0.95, SIDE * 0.05
        box = (room * lot[0], room * lot[1], room * lot[0] + side, room * lot[1] + side)
        image = ImageEnhance.Brightness(
            image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
        ).enhance(0.85 + 0.3 * lot[2])
    if fault == "poisoned":
        image.paste((255, 0, 255), (SIDE - 6, SIDE - 6, SIDE - 2, SIDE - 2))
    if fault == "spectral":
        image = spectral_trigger(image)
    file = io.BytesIO()
    image.save(file, "PNG")
    content = file.getvalue()
    return content[: len(content) // 2] if fault == "corrupt" else content
