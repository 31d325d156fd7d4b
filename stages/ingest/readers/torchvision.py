"""Data sets that torchvision knows, as the user has downloaded them; nothing is downloaded here."""

from __future__ import annotations

import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.core.data.downloads import Download, parse_download
from stages.core.data.sources import Source
from stages.core.errors import DataError
from stages.core.image.decode import Unreadable, to_array
from stages.core.progress import Progress
from stages.core.sections import Ingest
from stages.core.splits import SPLITS
from stages.ingest.listing import Entries

Place = tuple[str, str, str, int]  # data set, root, part of it, number
PARTS = ("train", "val", "valid", "test", "unlabeled")


def entries(source: Source, ingest: Ingest) -> Entries:
    """List every part of the data set; a part named train, val or test is that split."""
    download = parse_download(source.argument)
    out = Entries([], [], [], [])
    handles: list[Place] = []
    for part in _parts(download):
        labels = _labels(_open(download.name, str(download.root), part))
        out.uris.extend(f"{part}/{number:06}" for number in range(len(labels)))
        out.labels.extend(labels)
        out.splits.extend([SPLITS.get(part)] * len(labels))
        handles += [
            (download.name, str(download.root), part, number) for number in range(len(labels))
        ]
    given = "the data set" if any(out.splits) else None
    return Entries(out.uris, out.labels, out.splits, handles, given=given, names=frozenset(PARTS))


def load(handle: Place) -> npt.NDArray[np.uint8]:
    """One image ``(H, W, 1 or 3)``."""
    name, root, part, number = handle
    try:
        image = _open(name, root, part)[number][0]
    except Exception as error:  # a data set fed damaged files may raise anything
        raise Unreadable(f"damaged: {type(error).__name__}") from None
    if not isinstance(image, Image.Image):
        raise Unreadable(f"torchvision hands over a {type(image).__name__}, no image")
    grey = image.mode in ("1", "L")
    return to_array(
        image if image.mode in ("L", "RGB") else image.convert("L" if grey else "RGB"),
        1 if grey else 3,
    )


def _parts(download: Download) -> list[str]:
    """The parts that are there, in a fixed order; ``all`` for a data set that has none."""
    accepted = inspect.signature(_class(download.name)).parameters
    wanted = (
        ["train", "test"]
        if "train" in accepted
        else list(PARTS)
        if "split" in accepted
        else ["all"]
    )
    errors: list[str] = []
    found = [part for part in wanted if _is_there(download, part, errors)]
    if not found:
        why = errors[0] if errors else "none of its parts can be opened"
        raise DataError(
            f"torchvision:{download.name} cannot be opened in {download.root} ({why}); download it:"
            f" {download.command}"
        )
    return found


def _is_there(download: Download, part: str, errors: list[str]) -> bool:
    try:
        _open(download.name, str(download.root), part)
    except (ValueError, KeyError):
        return False  # no such split
    except (RuntimeError, OSError, TypeError, ImportError) as error:
        errors.append(str(error).partition("\n")[0])
        return False
    return True


@lru_cache(maxsize=4)
def _open(name: str, root: str, part: str) -> Any:
    kind = _class(name)
    accepted = inspect.signature(kind).parameters
    chosen: dict[str, Any] = (
        {"train": part == "train"}
        if "train" in accepted
        else {"split": part}
        if "split" in accepted
        else {}
    )
    return kind(Path(root), **chosen)


def _class(name: str) -> Any:
    import torchvision

    return getattr(torchvision.datasets, name)


def _labels(dataset: Any) -> list[str | None]:
    """Labels as text, by name where the data set has names; of one that has no list of them every
    image is opened.
    """
    values = next(
        (
            getattr(dataset, name)
            for name in ("targets", "labels", "_labels")
            if getattr(dataset, name, None) is not None
        ),
        None,
    )
    if values is None:
        with Progress("labels", len(dataset), "images") as bar:
            values = [_target(dataset, number, bar) for number in range(len(dataset))]
    names = getattr(dataset, "classes", None)
    return [_label(value, names) for value in values]


def _target(dataset: Any, number: int, bar: Progress) -> Any:
    bar.advance()
    return dataset[number][1]


def _label(value: Any, names: Any) -> str | None:
    if not np.isscalar(value) and not hasattr(value, "item"):
        return None  # boxes, captions, several labels
    if isinstance(value, str):
        return value
    number = int(value)
    return (
        None if number < 0 else str(names[number]) if names and number < len(names) else str(number)
    )
