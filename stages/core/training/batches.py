"""Which images a step sees, and how they get to the device: a function of seed and step, never of
workers or memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stages.core.compute import device
from stages.core.image.views.engine import Draws, ViewEngine, Views, part
from stages.core.random import generator

IN_MEMORY = 4 << 30
"""Bytes up to which the chosen images are held in RAM (or on the GPU); above, batches are gathered
from the map.
"""


class Gathers(Protocol):
    """A pixel store."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    def gather(self, rows: np.ndarray) -> Tensor: ...


class Pixels:
    """Chosen rows of a store, as uint8 batches on the device; held there whole when they fit."""

    def __init__(self, store: Gathers, rows: np.ndarray, in_memory: int = IN_MEMORY) -> None:
        self.store, self.rows = store, rows
        self.device = device()
        image_bytes = int(np.prod(store.shape[1:]))
        self.held = (
            store.gather(rows).to(self.device) if image_bytes * len(rows) <= in_memory else None
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, index: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` uint8 at positions ``index`` ``(n,)`` among the rows."""
        if self.held is not None:
            return self.held.index_select(0, index.to(self.device))
        return self.gather(index).to(self.device, non_blocking=True)

    def gather(self, index: Tensor) -> Tensor:
        """The same from the store, on the CPU."""
        return self.store.gather(self.rows[index.numpy()])


class Order:
    """Each epoch its own permutation of ``count`` images, cut into whole batches; what is left over
    waits for the next epoch.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.batch_size = min(batch_size, count)
        self.steps_per_epoch = max(1, count // self.batch_size)
        self._permutation = lru_cache(maxsize=2)(
            self._shuffled
        )  # the next step may be of the next epoch

    def __call__(self, step: int) -> Tensor:
        """Positions ``(batch_size,)`` int64 of the global batch of ``step``."""
        epoch, number = divmod(step, self.steps_per_epoch)
        return self._permutation(epoch)[number * self.batch_size : (number + 1) * self.batch_size]

    def _shuffled(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=generator(self.seed, "order", epoch))


class Ahead:
    """While the device computes a step, a thread reads the images of the next; what is read never
    depends on it.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self._thread = ThreadPoolExecutor(1, "images") if pixels.held is None else None
        self._coming: dict[tuple[int, int | None], Future[Tensor]] = {}

    def __call__(self, order: Order, step: int, rows: slice) -> Tensor:
        """Images ``(n, C, H, W)`` uint8 on the device: some rows of the global batch of
        ``step``.
        """
        if self._thread is None:
            return self.pixels(order(step)[rows])
        self._coming = {key: future for key, future in self._coming.items() if key[0] >= step}
        coming = self._coming.pop((step, rows.start), None)
        images = coming.result() if coming else self.pixels.gather(order(step)[rows])
        following = order(step + 1)[rows]
        self._coming[step + 1, rows.start] = self._thread.submit(self.pixels.gather, following)
        return images.to(self.pixels.device, non_blocking=True)


class ViewBatches:
    """Batches of views, for the training loop. The whole global batch is drawn everywhere, so views
    do not depend on ranks.
    """

    def __init__(
        self, pixels: Pixels, engine: ViewEngine, batch_size: int, seed: int, ids: Sequence[str]
    ) -> None:
        self.pixels, self.engine, self.seed, self.image_ids = pixels, engine, seed, ids
        self.order = Order(len(pixels), batch_size, seed)
        self.size, self.steps_per_epoch = self.order.batch_size, self.order.steps_per_epoch
        self.ahead = Ahead(pixels)
        self._step, self._draws = -1, Draws()

    def __call__(self, step: int, rows: slice) -> Views:
        """The views of some rows of the global batch of ``step``."""
        if step != self._step:
            self._draws = self.engine.sample(self.size, generator(self.seed, "views", step))
            self._step = step
        index = self.order(step)[rows]
        images = self.ahead(self.order, step, rows)
        return self.engine.apply(images, part(self._draws, rows), index.to(images.device))

    def ids(self, step: int) -> list[str]:
        """Which images a step trained on."""
        return [self.image_ids[position] for position in self.order(step).tolist()]
