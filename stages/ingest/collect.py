"""From listed sources to the pixel store and one row of facts per image, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.core import paths
from stages.core.data.folders import never_hashed
from stages.core.data.shards import named_ends
from stages.core.data.sources import Source
from stages.core.image.jpeg_store import JpegStore, JpegWriter
from stages.core.image.pixel_store import PixelWriter, Place
from stages.core.params import Params
from stages.core.plugins import load
from stages.core.progress import Progress
from stages.ingest.auto_settings import Store
from stages.ingest.cache import Decoded, cache_directory, keep, recall
from stages.ingest.decode import Task, crashed, join
from stages.ingest.decode_task import Delivered, Delivery, deliver, put
from stages.ingest.image_table import Facts
from stages.ingest.label_faults import without_rare
from stages.ingest.listing import Entries
from stages.ingest.split import assign_splits
from stages.ingest.workers import WORTH_A_WORKER, ordered_map, processors

CHUNK_BYTES = 1 << 20

Rows = npt.NDArray[np.int64]
Listed = list[tuple[Source, Entries]]


def unread_folders(found: list[Source], cache: Path = paths.CACHE) -> list[Source]:
    """Large folders whose files nobody has read yet. Decoding reads them all, so it is left to that
    to hash them, too.
    """
    if any(cache.glob("decoded-*")):
        return []
    folders = [
        source
        for source in found
        if source.kind == "folder" and len(source.listing.files) >= 2 * WORTH_A_WORKER
    ]
    unread = [source for source in folders if never_hashed(source.listing, cache)]
    for source in unread:
        source.postpone()
    return unread


def list_sources(found: list[Source], params: Params) -> Listed:
    """Ask every reader what its source holds; no image is opened."""
    return [
        (source, load("stages.ingest.readers", source.kind).entries(source, params.ingest))
        for source in found
    ]


def decode_images(
    listed: Listed,
    store: Store,
    max_pixels: int,
    directory: Path,
    cache: Path = paths.CACHE,
    unread: Sequence[Source] = (),
    sides: tuple[int, int] = (1, 1 << 30),
) -> pd.DataFrame:
    """Decode every image into the store at ``directory``; one row of facts per image, in the same
    order.

    Files whose bytes the last ingest decoded are taken from there. What is remembered of a file are
    the bytes that were decoded, not those it had when it was listed: a file that could not be read
    just then gets another chance. Sources that are ``unread`` are told the contents of their files.
    Images whose shorter or longer side is outside ``sides`` are quarantined.
    """
    began = time.time_ns()
    contents = np.concatenate([_contents(entries) for _, entries in listed])
    remembered = contents.any(axis=1) | np.concatenate(
        [np.full(len(entries), source in unread) for source, entries in listed]
    )
    kept = cache_directory(
        cache, store.size, store.channels, max_pixels, store.kind, *store.levels, *sides
    )
    decoded = recall(kept)
    known = decoded.find(contents) if decoded else np.full(len(contents), -1, np.int64)
    fresh = np.flatnonzero(known < 0)
    workers = min(processors(), len(fresh) // WORTH_A_WORKER)
    facts = Facts(len(contents))
    same = (
        decoded is not None
        and not len(fresh)
        and np.array_equal(known, np.arange(len(decoded.store)))
    )
    ends = named_ends(
        (uri for _, entries in listed for uri in entries.uris),
        len(known),
        store.channels * store.size**2,
    )
    like = Task("", (), store.channels, store.size, max_pixels, store.levels, sides)
    with _writer(store, directory) as writer, Progress("ingest", len(known), "images") as bar:
        if decoded:
            facts.copy(np.flatnonzero(known >= 0), decoded.facts, known[known >= 0])
            bar.advance(len(known) - len(fresh))
        place = _begin(writer, ends, known, decoded)
        for part in ordered_map(deliver, _deliveries(listed, fresh, like, place), workers, _rescue):
            _append(writer, part, known, decoded)
            facts.set(part.rows, part.facts)
            contents[part.rows] = part.facts.contents * remembered[part.rows, None]
            bar.advance(len(part.rows))
        _append_known(writer, len(known), known, decoded)
    frame = facts.frame()
    if contents.any() and not same:
        try:
            keep(kept, directory, frame, contents)
        except OSError as error:  # a full disk, say
            print(
                "ingest: the decoded images cannot be kept, so the next ingest decodes them all"
                f" again: {error}",
                flush=True,
            )
    first = 0
    for source, entries in listed:
        if source in unread:
            source.learn(contents[first : first + len(entries)].copy(), began)
        first += len(entries)
    return frame


def join_facts(listed: Listed, facts: pd.DataFrame) -> pd.DataFrame:
    """One row per image: where it comes from, what its source says of it, and what decoding
    found.
    """
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
    return pd.concat([pd.concat(places, ignore_index=True), facts], axis=1)


def complete_manifest(images: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The manifest's columns: :func:`join_facts` and the split and label each image gets."""
    ingest = params.ingest
    images = images.assign(label=without_rare(images, ingest))
    drawn = assign_splits(
        images,
        ingest.validation_fraction,
        ingest.test_fraction,
        ingest.labelled_fraction,
        params.seed,
    )
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


def _writer(store: Store, directory: Path) -> PixelWriter | JpegWriter:
    writer = (PixelWriter if store.kind == "pixels" else JpegWriter)(
        directory, store.channels, store.size
    )
    writer.levels = store.levels
    return writer


def _begin(
    writer: PixelWriter | JpegWriter, ends: Rows, known: Rows, decoded: Decoded | None
) -> Place | None:
    """Where decoded images go; those known already are put there. JPEG files have no place before
    they are made.
    """
    if isinstance(writer, JpegWriter):
        writer.reserve(ends)
        return None
    writer.reserve(ends, known, decoded.store if decoded else None)
    return writer.place


def _append(
    writer: PixelWriter | JpegWriter, part: Delivered, known: Rows, decoded: Decoded | None
) -> None:
    """JPEG files in the order of their rows; pixels are in their place already."""
    if isinstance(writer, JpegWriter):
        for row, content in zip(part.rows.tolist(), part.encoded, strict=True):
            _append_known(writer, row, known, decoded)
            writer.append_encoded([content])


def _append_known(
    writer: PixelWriter | JpegWriter, end: int, known: Rows, decoded: Decoded | None
) -> None:
    if (
        isinstance(writer, JpegWriter)
        and decoded is not None
        and isinstance(decoded.store, JpegStore)
    ):
        writer.append_known(end, known, decoded.store)


def _deliveries(listed: Listed, fresh: Rows, like: Task, place: Place | None) -> Iterator[Delivery]:
    most = max(1, min(512, CHUNK_BYTES // (like.channels * like.size**2)))
    start = 0
    for source, entries in listed:
        end = start + len(entries)
        mine = fresh[np.searchsorted(fresh, start) : np.searchsorted(fresh, end)]
        for first in range(0, len(mine), most):
            rows = mine[first : first + most]
            handles = [entries.handles[row] for row in (rows - start).tolist()]
            yield Delivery(replace(like, reader=source.kind, handles=handles), rows, place)
        start = end


def _rescue(delivery: Delivery, attempt: Callable[[Delivery], Delivered]) -> Delivered:
    """Find the image whose decoding killed a worker, by halves; everything else in the task is
    decoded as ever.
    """
    try:
        return attempt(delivery)
    except BrokenProcessPool:
        handles, rows = delivery.task.handles, delivery.rows
        half = len(handles) // 2
        if not half:
            return put(delivery, crashed(delivery.task))
        parts = [
            replace(delivery, task=replace(delivery.task, handles=handles[some]), rows=rows[some])
            for some in (slice(half), slice(half, None))
        ]
        first, second = (_rescue(part, attempt) for part in parts)
        return Delivered(rows, join([first.facts, second.facts]), first.encoded + second.encoded)
