"""One task from files to the pixel store, in whatever process it lands: only a few words about each
image come back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stages.core.image.jpeg_store import encode
from stages.core.image.pixel_store import Place
from stages.ingest.decode import Chunk, Task, decode_chunk


@dataclass(frozen=True)
class Delivery:
    """A task, the rows of the store its images belong to (ascending), and the store; without one
    they are made JPEG files.
    """

    task: Task
    rows: npt.NDArray[np.int64]
    place: Place | None


@dataclass(frozen=True)
class Delivered:
    """What became of the images: the facts, and the JPEG files where they were not put in place."""

    rows: npt.NDArray[np.int64]
    facts: Chunk  # without pixels
    encoded: list[bytes]


def deliver(delivery: Delivery) -> Delivered:
    """Decode a task and put its images where they belong."""
    return put(delivery, decode_chunk(delivery.task))


def put(delivery: Delivery, chunk: Chunk) -> Delivered:
    """Put decoded images where they belong."""
    encoded = []
    if delivery.place is None:
        encoded = [encode(image) for image in chunk.pixels]
    else:
        delivery.place.put(delivery.rows, chunk.pixels)
    return Delivered(delivery.rows, replace(chunk, pixels=chunk.pixels[:0]), encoded)
