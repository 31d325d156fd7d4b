"""Tar files of images, such as WebDataset shards: ``000123.jpg`` beside ``000123.cls``, or folders
as on disk.

Nothing is ever extracted: a member's name is only a name, whatever path it spells.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from stages.core.data.folders import above
from stages.core.data.sources import Source
from stages.core.errors import DataError
from stages.core.formats import EXTENSIONS, START, is_image, may_be
from stages.core.image.decode import Unreadable
from stages.core.junk import JUNK, LEFT_BY_CHOICE, is_junk_path
from stages.core.layout import UNLABELLED, splits_of_containers
from stages.core.scan import extension_of, matches
from stages.core.sections import Ingest
from stages.ingest.archive_hashes import member_hashes
from stages.ingest.listing import Entries
from stages.ingest.places import container_names, find_places, looks_like_splits, readable, settled

Member = tuple[str, int, int]
LABEL = ".cls"
COMPRESSED = frozenset({".tgz", ".gz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".zst", ".zip"})
_LABEL_BYTES = 4096
LARGEST = 1 << 30


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the members; a handle is the archive, the place and the length of the member in it."""
    listing = source.listing
    ignored, empty = dict(listing.ignored), set[str]()
    shards = [
        _members(listing.root / name, ignored, empty, ingest.ignore) for name in listing.files
    ]
    inside = [images for images, _ in shards]
    members = [member for images in inside for member, _ in images]
    beside = [labels.get(_stem(member)) for images, labels in shards for member, _ in images]
    places = find_places(members, ingest, frozenset(empty))
    by_shard, how, looks = splits_of_containers(listing.files, ingest.splits)
    shard = [split for split, images in zip(by_shard, inside, strict=True) for _ in images]
    found = [outer or inner for outer, inner in zip(shard, places.splits, strict=True)]
    splits, apart = settled(found)
    named = [own or folder for own, folder in zip(beside, places.labels, strict=True)]
    return Entries(
        uris=[
            f"{readable(name)}/{readable(member)}"
            for name, images in zip(listing.files, inside, strict=True)
            for member, _ in images
        ],
        labels=[
            None if split == UNLABELLED else label
            for split, label in zip(found, named, strict=True)
        ],
        splits=splits,
        handles=[handle for images in inside for _, handle in images],
        contents=member_hashes(
            source, list(map(len, inside)), lambda number: _known_of(inside[number])
        ),
        ignored=ignored,
        remarks=(
            (*places.remarks, *looks_like_splits(looks), *_packed(ignored))
            if source.role == "target"
            else ()
        ),
        given=how or places.given,
        apart=apart,
        names=places.names | container_names(listing.files),
    )


def load(handle: Member) -> bytes:
    """The bytes of one member; fewer, if the archive has shrunk or gone.

    Raises:
        Unreadable: it has over a gigabyte.
    """
    path, offset, size = handle
    if size > LARGEST:
        raise Unreadable(f"{size} bytes, over the limit of {LARGEST} for a member of an archive")
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


def _known_of(images: list[tuple[str, Member]]) -> Iterator[bytes]:
    return (_known(handle) for _, handle in images)


def _packed(ignored: dict[str, int]) -> tuple[str, ...]:
    """What to say about compressed archives beside the others."""
    found = {kind: count for kind, count in ignored.items() if kind in COMPRESSED}
    if not found:
        return ()
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.items())
    return (
        (
            f"compressed archives are not read: {counts}; unpack each once (gunzip, unxz, …) to use"
            " its images"
        ),
    )


def _known(handle: Member) -> bytes:
    return b"" if handle[2] > LARGEST else load(handle)


def _members(
    path: Path, ignored: dict[str, int], empty: set[str], patterns: tuple[str, ...]
) -> tuple[list[tuple[str, Member]], dict[str, str]]:
    """Images and labels of one archive; links and devices inside it are counted, not followed."""
    images: list[tuple[str, Member]] = []
    labels: dict[str, str] = {}
    seen: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")  # as `tar -C folder .` writes them
                if member.isdir():
                    empty.add(name.strip("/"))
                    continue
                extension = extension_of(name.rpartition("/")[2])
                handle = (str(path), member.offset_data, member.size)
                if kind := _left_out(name, patterns):
                    ignored[kind] = ignored.get(kind, 0) + 1
                elif member.isreg() and extension == LABEL and member.size <= _LABEL_BYTES:
                    labels[_stem(name)] = load(handle).decode(errors="replace").strip()
                elif member.isreg() and not member.issparse() and _is_picture(extension, handle):
                    seen[name] = seen.get(name, 0) + 1
                    again = (
                        f"#{seen[name]}" if seen[name] > 1 else ""
                    )  # a tar may hold a name twice
                    images.append((name + again, handle))
                else:
                    kind = (extension or "(none)") if member.isreg() else "(link)"
                    ignored[kind] = ignored.get(kind, 0) + 1
    except tarfile.ReadError as error:
        if not images:
            packed = (
                "; it is gzipped: unpack it once with gunzip"
                if load((str(path), 0, 2)) == b"\x1f\x8b"
                else ""
            )
            raise DataError(f"{path} is not an uncompressed tar file: {error}{packed}") from None
        ignored["(torn tar)"] = (
            ignored.get("(torn tar)", 0) + 1
        )  # what stands before the tear is used
    empty -= above(name for name, _ in images)
    return images, labels


def _left_out(name: str, patterns: tuple[str, ...]) -> str | None:
    """The kind of a member that is left out whatever it holds."""
    if is_junk_path(name):
        return JUNK
    parts = name.split("/")
    if patterns and any(
        matches("/".join(parts[: depth + 1]), patterns) for depth in range(len(parts))
    ):
        return LEFT_BY_CHOICE
    return None


def _is_picture(extension: str, handle: Member) -> bool:
    if extension in EXTENSIONS:
        return True
    path, offset, size = handle
    return may_be(extension) and is_image(load((path, offset, min(size, START))))


def _stem(name: str) -> str:
    """What WebDataset calls the key: everything up to the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]
