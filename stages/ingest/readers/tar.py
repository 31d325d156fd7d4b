"""Tar files of images, such as WebDataset shards: ``000123.jpg`` beside ``000123.cls``, or folders
as on disk.

Nothing is ever extracted: a member's name is only a name, whatever path it spells.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from stages.core.data.folders import EXTENSIONS
from stages.core.data.sources import Source, has_splits, place
from stages.core.errors import DataError
from stages.core.image.decode import Unreadable
from stages.core.params import Ingest
from stages.ingest.archive_hashes import member_hashes
from stages.ingest.listing import Entries
from stages.ingest.readers.folder import no_splits, readable

Member = tuple[str, int, int]
LABEL = ".cls"
_LABEL_BYTES = 4096
LARGEST = 1 << 30


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the members; a handle is the archive, the place and the length of the member in it."""
    found: list[tuple[str, str, str | None, Member]] = []  # uri, name inside, label beside, handle
    ignored: dict[str, int] = {}
    inside: list[list[Member]] = []
    listing = source.listing
    for name in listing.files:
        images, labels = _members(listing.root / name, ignored)
        inside.append([handle for _, handle in images])
        for member, handle in images:
            found.append(
                (f"{readable(name)}/{readable(member)}", member, labels.get(_stem(member)), handle)
            )
    top = sorted({member.split("/", 1)[0] for _, member, _, _ in found if "/" in member})
    splits = has_splits(top)
    places = [place(member, splits) for _, member, _, _ in found]
    return Entries(
        uris=[uri for uri, _, _, _ in found],
        labels=[
            beside or folder for (_, _, beside, _), (_, folder) in zip(found, places, strict=True)
        ],
        splits=[split for split, _ in places],
        handles=[handle for _, _, _, handle in found],
        contents=member_hashes(
            source, [len(part) for part in inside], lambda number: map(_known, inside[number])
        ),
        ignored=ignored,
        remarks=no_splits(top) if source.role == "target" else (),
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


def _known(handle: Member) -> bytes:
    return b"" if handle[2] > LARGEST else load(handle)


def _members(
    path: Path, ignored: dict[str, int]
) -> tuple[list[tuple[str, Member]], dict[str, str]]:
    """Images and labels of one archive; links and devices inside it are counted, not followed."""
    images: list[tuple[str, Member]] = []
    labels: dict[str, str] = {}
    seen: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = member.name.removeprefix("./")  # as `tar -C folder .` writes them
                extension = Path(name).suffix.lower()
                if member.isreg() and extension == LABEL and member.size <= _LABEL_BYTES:
                    labels[_stem(name)] = (
                        load((str(path), member.offset_data, member.size))
                        .decode(errors="replace")
                        .strip()
                    )
                elif member.isreg() and not member.issparse() and extension in EXTENSIONS:
                    seen[name] = seen.get(name, 0) + 1
                    again = (
                        f"#{seen[name]}" if seen[name] > 1 else ""
                    )  # a tar may hold a name twice
                    images.append((name + again, (str(path), member.offset_data, member.size)))
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
    return images, labels


def _stem(name: str) -> str:
    """What WebDataset calls the key: everything up to the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]
