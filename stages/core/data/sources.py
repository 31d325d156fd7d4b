"""Where images come from: what ``ingest.source`` may say, a cheap check of it, and the fingerprint
DVC watches.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.core import paths
from stages.core.data.downloads import check_download, parse_download
from stages.core.data.folders import Listing, content_hashes, learn_hashes, one_file, walk
from stages.core.errors import ConfigError, nearest
from stages.core.io import refresh_json
from stages.core.layout import Layout
from stages.core.params import Params
from stages.core.plugins import load
from stages.core.sections import Ingest

KINDS = {
    "digits": "digits",
    "folder": "folder:PATH",
    "tar": "tar:PATH",
    "parquet": "parquet:PATH",
    "torchvision": "torchvision:NAME or torchvision:NAME,root=FOLDER",
    "synthetic": "synthetic or synthetic:images=600,duplicates=0.1",
}
ARCHIVES = {"tar": frozenset({".tar"}), "parquet": frozenset({".parquet"})}
"""Kinds whose argument is one file, or a folder of files, of these extensions."""


@dataclass(frozen=True)
class Source:
    """One parsed source: ``folder:PATH`` has the kind ``folder`` and the argument ``PATH``.

    ``name`` is what the manifest calls it: no path, so that outputs are the same wherever the
    images lie.
    """

    kind: str
    argument: str
    name: str
    # target: labels and splits count | pool: only images, to learn from without labels
    role: str = "target"
    license: str | None = None
    attribution: str | None = None
    ignore: tuple[str, ...] = ()  # patterns of files that are left out

    @property
    def path(self) -> Path:
        """The argument as a path; relative ones count from the project root."""
        return Path(self.argument).expanduser()

    @cached_property
    def listing(self) -> Listing:
        """Its files, looked up once."""
        return archives(self) if self.kind in ARCHIVES else walk(self.path, ignore=self.ignore)

    @cached_property
    def contents(self) -> npt.NDArray[np.uint8]:
        """sha256 of the bytes of each of them ``(N, 32)``, looked up once."""
        return content_hashes(self.listing)

    def postpone(self) -> None:
        """Read nothing for now: who decodes the images will tell their contents (:meth:`learn`);
        until then they are zeros.
        """
        self.__dict__["contents"] = np.zeros((len(self.listing.files), 32), np.uint8)

    def learn(self, contents: npt.NDArray[np.uint8], began: int) -> None:
        """Contents ``(N, 32)`` that were read for another purpose, from ``began``
        (``time.time_ns``) on; zeros: not read.
        """
        learn_hashes(self.listing, contents, began)
        self.__dict__["contents"] = contents

    def forgetful(self) -> Source:
        """The same without what it has looked up: a million names are a tenth of all memory."""
        return replace(self)


def parse(text: str) -> Source:
    """Parse one source; anything but the kinds above is one line that says what is allowed."""
    kind, _, argument = text.partition(":")
    if kind not in KINDS:
        if text and Path(text).expanduser().is_dir():
            raise ConfigError(f"ingest.source: {text!r} is no source; did you mean folder:{text}?")
        raise ConfigError(
            f"ingest.source: {text!r} is no source; {nearest(kind, list(KINDS))}use"
            f" {', '.join(KINDS.values())}"
        )
    if kind in {"folder", *ARCHIVES} and not argument:
        raise ConfigError(f"ingest.source: {kind} needs a path, for example {kind}:/data/flowers")
    if kind == "torchvision":
        parse_download(argument)
    if kind == "digits" and argument:
        raise ConfigError(f"ingest.source: digits takes no argument, {argument!r} was given")
    return Source(kind, argument, kind)


def sources(ingest: Ingest) -> list[Source]:
    """The sources of a configuration, in order. Each has its own name: the kind, numbered where it
    repeats, if none is given.
    """
    if isinstance(ingest.source, str):
        return [replace(parse(ingest.source), ignore=ingest.ignore)]
    found: list[Source] = []
    for entry in ingest.source:
        source = parse(entry.from_)
        same = sum(other.kind == source.kind for other in found)
        name = entry.name or (f"{source.kind}-{same + 1}" if same else source.kind)
        if ":" in name or any(other.name == name for other in found):
            raise ConfigError(
                f"ingest.source: {name!r} cannot name a source: names are different and hold no"
                " colon"
            )
        source = replace(source, name=name, role=entry.role, ignore=ingest.ignore)
        found.append(replace(source, license=entry.license, attribution=entry.attribution))
    if not found:
        raise ConfigError(f"ingest.source: the list is empty; use {', '.join(KINDS.values())}")
    return found


def archives(source: Source) -> Listing:
    """The files of a ``tar`` or ``parquet`` source: the one file, or all of them below a folder."""
    extensions = ARCHIVES[source.kind]
    if not source.path.is_file():
        return walk(source.path, extensions, source.ignore)
    return one_file(source.path)


def check_source(ingest: Ingest, found: list[Source] | None = None) -> None:
    """Refuse what ingest could not use, before an image is opened.

    Raises:
        ConfigError: a missing folder, no image in it, or a single class; a switch that
            ``synthetic`` has not.
    """
    for source in found or sources(ingest):
        if source.kind == "folder":
            _check_folder(source, ingest)
        elif source.kind == "torchvision":
            check_download(source.argument)
        elif source.kind == "synthetic":
            load("stages.ingest.readers", source.kind).parse(source.argument)
        elif source.kind in ARCHIVES:
            _check_path(source)
            if source.path.is_dir() and not archives(source).files:
                wanted = ", ".join(ARCHIVES[source.kind])
                raise ConfigError(f"ingest.source: {source.path} has no {wanted} file")


def fingerprint(ingest: Ingest, found: list[Source] | None = None) -> dict[str, Any]:
    """What the sources contain, as a small mapping that changes when an image is added, changed,
    renamed or removed.

    ``found`` are the sources of ``ingest``, where the caller will ask them more.
    """
    return {"format": 1, "sources": [_fingerprint(source) for source in found or sources(ingest)]}


def write_fingerprint(
    params: Params, found: list[Source] | None = None, path: Path = paths.FINGERPRINT
) -> Path:
    """Check the sources, unless who gives ``found`` has, and refresh the file, touching it only
    when its content changes.
    """
    if found is None:
        found = sources(params.ingest)
        check_source(params.ingest, found)
    content = fingerprint(params.ingest, found)
    refresh_json(path, content)
    return path


def _fingerprint(source: Source) -> dict[str, Any]:
    if source.kind in (
        "synthetic",
        "torchvision",
    ):  # of torchvision the name says it all: it checks the files it loads itself
        content = (
            source.argument if source.kind == "synthetic" else parse_download(source.argument).name
        )
        return {
            "source": source.name,
            "files": 0,
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
        }
    if source.kind == "digits":
        package = find_spec("sklearn")
        assert package is not None and package.origin is not None
        table = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        return {
            "source": source.name,
            "files": 1,
            "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        }
    return {
        "source": source.name,
        "files": len(source.listing.files),
        "sha256": source.listing.digest(source.contents),
    }


def _check_path(source: Source) -> None:
    if not source.path.exists():
        raise ConfigError(
            f"ingest.source: {source.path} does not exist (project root: {Path.cwd()})"
        )


def _check_folder(source: Source, ingest: Ingest) -> None:
    root = source.path
    _check_path(source)
    if not root.is_dir():
        raise ConfigError(f"ingest.source: {root} is a file, not a folder")
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise ConfigError(f"ingest.source: {root} cannot be listed: {error.strerror}") from None
    files = source.listing.files
    if not files:
        raise ConfigError(
            f"ingest.source: {root} has no images that can be read"
            f" here{_others(source.listing.ignored)}; put images in it, one folder per class"
        )
    if source.role != "target" or ingest.label_pattern is not None:
        return
    folders = {name.rpartition("/")[0] for name in files}
    layout = Layout.of(folders, ingest.splits)
    places = [layout.place(folder) for folder in folders]
    classes = {label for _, label in places if label is not None}
    if len(classes) == 1:
        only = next(iter(classes))
        hint = "" if layout.depth is not None else _hint(root, folders, only)
        raise ConfigError(
            f"ingest.source: {root} has one class, {only!r}: a classifier needs two or more class"
            f" folders{hint}"
        )


def _hint(root: Path, folders: set[str], only: str) -> str:
    """The folder below that was probably meant: the first with more than one folder in it."""
    paths, depth = [folder.split("/") for folder in folders if folder], 1
    while len(inside := {path[depth] for path in paths if len(path) > depth}) == 1:
        depth += 1
    return f"; did you mean folder:{'/'.join([str(root), *paths[0][:depth]])}?" if inside else ""


def _others(ignored: dict[str, int]) -> str:
    return (
        f" ({', '.join(f'{count} of {kind}' for kind, count in ignored.items())})"
        if ignored
        else ""
    )
