"""What an encoder is given, and what it gives: a function from stored images to features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from stages.core import paths
from stages.core.curation_steps import ENCODERS, split_encoder
from stages.core.data.manifest import Manifest, Rows
from stages.core.image.pixel_store import PixelStore
from stages.core.plugins import load

Encode = Callable[[Tensor], Tensor]
"""uint8 images ``(n, C, S, S)`` → float32 features ``(n, D)``."""


@dataclass(frozen=True)
class Source:
    """The images an encoder may fit itself to, the seed of the run, and where what it learned is
    kept.
    """

    manifest: Manifest
    store: PixelStore
    seed: int
    cache: Path = paths.CACHE

    @cached_property
    def own(self) -> Rows:
        """Training images of the target sources (of all, where no source is a target); validation
        and test never.
        """
        rows = self.manifest.pretraining_rows()
        target = rows[self.manifest.frame["role"].to_numpy()[rows] == "target"]
        return target if len(target) else rows


class NamedEncoder:
    """``curate.encoder`` resolved: prepared when first called, so that cached features cost
    nothing.
    """

    def __init__(self, name: str, source: Source) -> None:
        self.name, self.source = name, source
        kind, self.argument = split_encoder(name)
        self.module: ModuleType = load(ENCODERS, kind)

    def identity(self) -> list[Any]:
        """What features depend on besides the images themselves."""
        return [self.name, self.module.VERSION, self.module.identity(self.source, self.argument)]

    @cached_property
    def _encode(self) -> Encode:
        encode: Encode = self.module.prepare(self.source, self.argument)
        return encode

    def __call__(self, images: Tensor) -> Tensor:
        return self._encode(images)
