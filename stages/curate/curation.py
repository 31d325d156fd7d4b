"""What operators work on: the manifest, the pixels, and which rows are still in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from stages.core.data.manifest import Manifest, Rows
from stages.core.image.pixel_store import PixelStore
from stages.curate.encoder import NamedEncoder, Source
from stages.curate.features import Features, embed


class Curation:
    """The state between two operators. Rows leave by :meth:`drop`, with a reason, and never come
    back.

    One value per row ``(n,)``: ``keep`` and ``reason``; ``cluster``, -1 for none; ``weight``, 0 for
    what left; ``training``, whether an operator may sample it away; ``labelled``. ``budget`` is a
    number of images.
    """

    def __init__(
        self, manifest: Manifest, store: PixelStore, encoder: str, budget: float | int, seed: int
    ) -> None:
        self.manifest, self.store, self.seed = manifest, store, seed
        self.encode = NamedEncoder(encoder, Source(manifest, store, seed))
        self.keep = manifest.ok.copy()
        self.reason = (
            manifest.frame["reason"]
            .astype(object)
            .where(manifest.frame["reason"].notna(), None)
            .to_numpy()
            .copy()
        )
        self.cluster = np.full(len(manifest), -1, np.int32)
        self.weight = self.keep.astype(np.float32)
        self.training = np.zeros(len(manifest), bool)
        self.training[manifest.pretraining_rows()] = True
        self.labelled = manifest.frame["label"].notna().to_numpy(bool)
        self.tables: dict[
            str, tuple[Sequence[str], list[tuple[object, ...]]]
        ] = {}  # reports by name: header and rows
        count = int(self.training.sum())
        self.budget = min(budget, count) if isinstance(budget, int) else round(budget * count)

    @cached_property
    def features(self) -> Features:
        """Of every readable row, by ``curate.encoder``."""
        return embed(self.encode)

    @cached_property
    def colours(self) -> Features:
        """Of every readable row, by the ``pixels`` encoder: what tells pictures apart, not what
        they show.
        """
        return embed(NamedEncoder("pixels", self.encode.source))

    def candidates(self) -> Rows:
        """Rows still in that an operator may sample from: the pool and the training split, never
        validation or test.
        """
        return self.manifest.rows(self.keep & self.training)

    def kept(self) -> Rows:
        """All rows still in."""
        return self.manifest.rows(self.keep)

    def uris(self, rows: Rows) -> list[str]:
        """Names for reasons."""
        return self.manifest.frame["uri"].iloc[rows].tolist()

    def drop(self, rows: Rows, reasons: Sequence[str]) -> None:
        """Take rows out, each for its own reason."""
        self.keep[rows] = False
        self.weight[rows] = 0
        self.reason[rows] = np.array(list(reasons), object)

    def result(self) -> Manifest:
        """The manifest with ``keep``, ``reason``, ``cluster`` and ``weight``."""
        columns = {
            "keep": self.keep,
            "reason": self.reason,
            "cluster": self.cluster,
            "weight": self.weight,
        }
        return Manifest(self.manifest.frame.assign(**columns))
