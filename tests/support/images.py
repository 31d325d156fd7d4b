"""Small real image folders made from the embedded digits, and stages run in this process."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from stages.core import paths
from stages.core.events import Tracker
from stages.core.params import Params, load_params

ROOT = Path(__file__).resolve().parents[2]
DIGITS = load_digits()
IMAGES = (DIGITS.images * 15).astype(np.uint8)


def params_with(**sections: dict[str, Any]) -> Params:
    """The project's own parameters with some values changed, checked as ever."""
    values = load_params(ROOT / paths.PARAMS).model_dump(by_alias=True)
    for section, changes in sections.items():
        values[section] |= changes
    return Params.model_validate(values)


def run_stage(name: str, params: Params) -> None:
    """What ``python -m stages.<name>`` does, here and now; errors are raised."""
    main = importlib.import_module(f"stages.{name}.__main__").main
    with Tracker(name) as track:
        main.__wrapped__(params, track)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def digit(number: int, scale: int = 4) -> Image.Image:
    """The numbered digit as a grey picture of ``8 * scale`` pixels."""
    return Image.fromarray(np.kron(IMAGES[number], np.ones((scale, scale), np.uint8)))


def class_folders(root: Path, classes: int = 3, per_class: int = 12, kind: str = "png") -> Path:
    """One folder per digit with ``per_class`` different pictures each."""
    for label in range(classes):
        for number in np.flatnonzero(DIGITS.target == label)[:per_class]:
            save(digit(number), root / str(label) / f"{number:04}.{kind}")
    return root


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def damaged_files(root: Path) -> dict[str, str]:
    """Write one file per way of being unusable; returns its path below the root and a word of the
    reason it must get.
    """
    whole = encoded(digit(7, 8), "JPEG")
    contents = {
        "0/zero.png": (b"", "empty file"),
        "0/text.jpg": (b"this is no picture", "not an image"),
        "1/half.jpg": (whole[: len(whole) // 2], "truncated"),
        "1/half.png": (encoded(digit(8, 8), "PNG")[:120], "damaged"),
        "2/bomb.png": (encoded(Image.new("1", (9000, 9000)), "PNG"), "over the limit"),
        "2/float.tif": (
            encoded(Image.fromarray(IMAGES[3].astype(np.float32)), "TIFF"),
            "floating-point",
        ),
    }
    for name, (content, _) in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "2" / "gone.png").symlink_to("nowhere.png")
    return {name: reason for name, (_, reason) in contents.items()} | {"2/gone.png": "No such file"}
