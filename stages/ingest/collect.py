"""From listed sources to the pixel store and one row of facts per image, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.core import paths
from stages.core.jpegs import JpegWriter
from stages.core.params import Params
from stages.core.pixels import PixelWriter
from stages.core.progress import Progress
from stages.core.registry import load
from stages.core.sources import Source, sources
from stages.ingest.decode import Chunk, Task, crashed, decode_chunk, join
from stages.ingest.entries import Entries
from stages.ingest.resolve import Store
from stages.ingest.reuse import cache_directory, keep, merge, recall
from stages.ingest.split import assign_splits
from stages.ingest.workers import ordered_map, processors

CHUNK_BYTES = 1 << 20
BLOCK = 1024
WORTH_A_WORKER = 2000
"""Images below which starting another process costs more than it saves."""

Listed = list[tuple[Source, Entries]]


def list_sources(params: Params) -> Listed:
    """Ask every reader what its source holds; no image is opened."""
    return [
        (source, load("stages.ingest.readers", source.kind).entries(source, params.ingest)) for source in sources(params.ingest)
    ]


def decode_images(listed: Listed, store: Store, max_pixels: int, directory: Path, cache: Path = paths.CACHE) -> pd.DataFrame:
    """Decode every image into the store at ``directory``; one row of facts per image, in the same order.

    Files whose bytes the last ingest decoded are taken from there.
    """
    contents = np.concatenate([_contents(entries) for _, entries in listed])
    kept = cache_directory(cache, store.size, store.channels, max_pixels)
    exact = store.kind == "pixels"  # a JPEG made from a JPEG is another picture: those are made from the sources each time
    decoded = recall(kept) if exact else None
    known = decoded.find(contents) if decoded else np.full(len(contents), -1, np.int64)
    tasks = _tasks(listed, known < 0, store, max_pixels)
    workers = min(processors(), int((known < 0).sum()) // WORTH_A_WORKER)
    facts: list[Chunk] = []
    with (
        (PixelWriter if exact else JpegWriter)(directory, store.channels, store.size) as writer,
        Progress("ingest", len(known), "images") as bar,
    ):
        for chunk in merge(known, decoded, ordered_map(decode_chunk, tasks, workers, _rescue), BLOCK):
            writer.append(chunk.pixels)
            bar.advance(len(chunk.ids))
            facts.append(replace(chunk, pixels=chunk.pixels[:0]))
    whole = join(facts)
    frame = pd.DataFrame({"id": whole.ids, "phash": whole.hashes, "reason": whole.reasons}, dtype=object)
    frame[["width", "height", "channels"]] = whole.shapes
    if exact and contents.any():
        keep(kept, directory, frame, contents)
    return frame


def complete_manifest(listed: Listed, facts: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The manifest's columns: where each image comes from, what it is, and the split and label it gets."""
    ingest = params.ingest
    places = [
        pd.DataFrame(
            {
                "source": source.name,
                "uri": [f"{source.name}:{uri}" for uri in entries.uris],
                "label": pd.Series(_visible(source, entries.labels), dtype=object),
                "given": pd.Series(_visible(source, entries.splits), dtype=object),
                "group": pd.Series(entries.groups or [None] * len(entries), dtype=object),
                "license": pd.Series([source.license] * len(entries), dtype=object),
                "attribution": pd.Series([source.attribution] * len(entries), dtype=object),
            }
        )
        for source, entries in listed
    ]
    images = pd.concat([pd.concat(places, ignore_index=True), facts], axis=1)
    drawn = assign_splits(images, ingest.validation_fraction, ingest.test_fraction, ingest.labelled_fraction, params.seed)
    readable = images["id"].notna()
    return images.assign(
        split=drawn["split"],
        role=drawn["role"],
        label=drawn["label"],
        reason=images["reason"].where(~readable, drawn["reason"]),
        status=readable.map({True: "ok", False: "quarantined"}),
    )


def _visible(source: Source, values: list[str | None]) -> list[str | None]:
    """Labels and splits count in target sources only; of a pool source just the images are used."""
    return values if source.role == "target" else [None] * len(values)


def _contents(entries: Entries) -> npt.NDArray[np.uint8]:
    return np.zeros((len(entries), 32), np.uint8) if entries.contents is None else entries.contents


def _tasks(listed: Listed, wanted: npt.NDArray[np.bool_], store: Store, max_pixels: int) -> Iterator[Task]:
    rows = max(1, min(512, CHUNK_BYTES // (store.channels * store.size**2)))
    start = 0
    for source, entries in listed:
        mine = np.flatnonzero(wanted[start : start + len(entries)])
        start += len(entries)
        for first in range(0, len(mine), rows):
            handles = [entries.handles[row] for row in mine[first : first + rows]]
            yield Task(source.kind, handles, store.channels, store.size, max_pixels)


def _rescue(task: Task, attempt: Callable[[Task], Chunk]) -> Chunk:
    """Find the image whose decoding killed a worker, by halves; everything else in the task is decoded as ever."""
    try:
        return attempt(task)
    except BrokenProcessPool:
        count = len(task.handles)
        if count == 1:
            return crashed(task)
        halves = task.handles[: count // 2], task.handles[count // 2 :]
        return join([_rescue(replace(task, handles=half), attempt) for half in halves])
