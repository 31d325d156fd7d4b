"""sha256 of every image inside an archive, so that the members of a grown or rewritten archive are
recognised.

Hashes are kept by the archive's own content: an archive that did not change is not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.core import paths
from stages.core.data.sources import Source
from stages.core.io import atomic_file
from stages.core.progress import Progress

Contents = npt.NDArray[np.uint8]  # (n, 32)


def member_hashes(
    source: Source, counts: list[int], read: Callable[[int], Iterable[bytes]]
) -> Contents:
    """One hash for every image of every archive, in order.

    Args:
        counts: images in each archive of the listing.
        read: the images of an archive, by its number.
    """
    listing = source.listing
    folder = paths.CACHE / f"members-{listing.key}"
    parts, names = [], set()
    with Progress(f"reading {listing.root}", sum(counts), "images") as bar:
        for number, (whole, count) in enumerate(zip(source.contents, counts, strict=True)):
            file = folder / f"{whole.tobytes().hex()}.npy"
            names.add(file.name)
            kept = _kept(file, count) if whole.any() else None
            if kept is None:
                digests = [
                    hashlib.sha256(image).digest() if image else bytes(32) for image in read(number)
                ]
                kept = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
                if (
                    len(kept) != count
                ):  # damaged, or changed while it was read: nothing is known of it
                    kept = np.zeros((count, 32), np.uint8)
                elif whole.any():
                    with atomic_file(file) as temporary, temporary.open("wb") as out:
                        np.save(out, kept, allow_pickle=False)
            parts.append(kept)
            bar.advance(count)
    for old in folder.glob("*.npy"):
        if old.name not in names:
            old.unlink(missing_ok=True)
    return np.concatenate(parts) if parts else np.empty((0, 32), np.uint8)


def _kept(file: Path, count: int) -> Contents | None:
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count, 32) and found.dtype == np.uint8 else None
