"""What a reader says about the images of one source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Entries:
    """Parallel lists, one item per image, in the order the source has them (a folder: by path).

    ``handles`` are small, picklable and all that ``load`` needs."""

    uris: list[str]
    labels: list[str | None]
    splits: list[str | None]  # given by the source; None: ingest draws it
    handles: Sequence[Any]
    contents: npt.NDArray[np.uint8] | None = (
        None  # (N, 32): sha256 of the bytes of each file, where that is known cheaply
    )
    groups: list[str | None] = field(
        default_factory=list
    )  # domain, camera, patient …; empty: none is known
    ignored: dict[str, int] = field(default_factory=dict)  # extension → files that are no images
    remarks: tuple[str, ...] = ()  # what the user may have meant otherwise
    given: str | None = None  # what gave the splits: folder, file name, shard, column …
    apart: int = 0  # images whose place says that they are used without a label
    names: frozenset[str] = frozenset()  # that ingest.splits may be about

    def decoded(self) -> Entries:
        """The same without what only decoding needs: of a million images that is a tenth of all
        memory.
        """
        return replace(self, handles=(), contents=None)

    def __len__(self) -> int:
        return len(self.uris)
