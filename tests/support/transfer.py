"""A small project on disk for the stages that transfer: real digits, a pretrained encoder that has
learnt nothing yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.datasets import load_digits

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.backbones import create_backbone
from stages.core.image.pixel_store import PixelStore, PixelWriter
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.policy import Policy
from stages.core.io import write_csv, write_json
from stages.core.models.artifact import save_model
from stages.core.params import Params, check_params

ROOT = Path(__file__).resolve().parents[2]
SIZE = 16
TEACHER, STUDENT = "test_byobnet", "test_efficientnet"
MOVES = (
    {"op": "affine", "degrees": 10.0, "translate": [0.05, 0.05], "scale": [0.9, 1.1], "shear": 5.0},
)
SMALL = {
    "distill.epochs": 1,
    "finetune.steps": 4,
    "evaluate.labels_per_class": [1, 3],
    "evaluate.draws": 2,
    "evaluate.finetune_draws": 1,
    "evaluate.bootstrap": 100,
    "distill.backbone": STUDENT,
}


def small_params(**changes: Any) -> Params:
    """The project's own parameters, shortened; ``finetune__steps=2`` or ``budget="quick"`` changes
    one more.
    """
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in {
        **SMALL,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    return check_params(values)


def small_manifest(count: int, labelled: float = 0.5) -> tuple[Manifest, np.ndarray]:
    """Digits with splits: the first 60 % train, then 20 % validation and 20 % test; pixels (n, 1,
    16, 16).
    """
    digits = load_digits()
    pixels = (
        (digits.images[:count] * 15.9).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)[:, None]
    )
    place = np.arange(count) / count
    split = np.where(place < 0.6, "train", np.where(place < 0.8, "val", "test")).astype(object)
    hidden = (split == "train") & (np.arange(count) % 100 >= 100 * labelled)
    split[hidden] = "none"
    frame = pd.DataFrame(
        {
            "id": [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels],
            "uri": [f"digits/{number}" for number in range(count)],
            "source": "digits",
            "role": np.where(hidden, "pool", "target"),
            "split": split,
            "label": [
                None if gone else str(label)
                for gone, label in zip(hidden, digits.target[:count], strict=True)
            ],
            "group": None,
            "width": 8,
            "height": 8,
            "channels": 1,
            "phash": "0" * 16,
            "license": None,
            "attribution": None,
            "status": "ok",
            "reason": None,
            "keep": True,
            "cluster": -1,
            "weight": 1.0,
        }
    )
    return Manifest(frame), pixels


def write_project(count: int = 300, labelled: float = 0.5, control: bool = True) -> None:
    """Everything that distill, finetune and evaluate read, in the working directory."""
    manifest, pixels = small_manifest(count, labelled)
    manifest.write(paths.CURATED_MANIFEST)
    with PixelWriter(paths.POOL_PIXELS, channels=1, size=SIZE) as writer:
        writer.append(pixels)
    preprocess = Preprocess.from_pixels(PixelStore.open(), manifest.pretraining_rows())
    Policy(name="moves", why="a test", views=(MOVES,), local=()).write(paths.POLICY)
    for seed, directory in ((0, paths.PRETRAINED), (1, paths.CONTROL))[: 2 if control else 1]:
        save_model(
            directory, create_backbone(TEACHER, 1, SIZE, seed), {"method": "none"}, preprocess
        )
    write_json(paths.START_ENCODER / "config.json", {"kind": "none"})
    save_model(
        paths.DISTILLED, create_backbone(STUDENT, 1, SIZE, 2), {"method": "none"}, preprocess
    )
    curve = [["pretrained", step, 1 / step, 0.1 * step] for step in (1, 2, 3)]
    write_csv(paths.reports("pretrain") / "curve.csv", ("run", "step", "loss", "knn"), curve)
    write_csv(paths.reports("distill") / "curve.csv", ("step", "cosine"), [[1, 0.1], [2, 0.2]])


def write_textures(count: int = 160) -> None:
    """Put noise in the place of a written project's digits, smeared across or down, which is its
    label: pixels say next to nothing of it, convolutions do.
    """
    manifest, draw = Manifest.read(paths.CURATED_MANIFEST), np.random.default_rng(0)
    kinds = np.arange(count) % 2
    start = draw.normal(size=(count, SIZE, SIZE))
    noise = start.copy()
    for kind in (0, 1):
        for step in range(1, 4):
            noise[kinds == kind] += 0.7**step * np.roll(start[kinds == kind], step, axis=2 - kind)
    pixels = np.clip(128 + 40 * noise, 0, 255).astype(np.uint8)[:, None]
    labelled = manifest.frame["label"].notna().to_numpy(bool)
    manifest.frame.loc[labelled, "label"] = [str(kind) for kind in kinds[labelled]]
    manifest.write(paths.CURATED_MANIFEST)
    shutil.rmtree(paths.POOL_PIXELS)
    with PixelWriter(paths.POOL_PIXELS, channels=1, size=SIZE) as writer:
        writer.append(pixels)


def run_stage(main: Callable[..., Any], params: Params) -> list[dict[str, Any]]:
    """Run a stage's ``main`` in this process and return the events it told."""
    import json

    stage = main.__wrapped__  # type: ignore[attr-defined]
    with Tracker(main.__module__.split(".")[1]) as track:
        stage(params, track)
    return [json.loads(line) for line in track.path.read_text().splitlines()]


def left_by(
    main: Callable[..., Any], params: Params, directory: Path, count: int = 250
) -> dict[str, str]:
    """Run a stage on a small project in a directory of its own; hashes of what it leaves."""
    directory.mkdir(exist_ok=True)
    with contextlib.chdir(directory):
        write_project(count)
        run_stage(main, params)
        return digest(Path("models"), Path("metrics"), Path("reports"))


def digest(*directories: Path) -> dict[str, str]:
    """Hash of every file below."""
    files = [
        file for directory in directories for file in sorted(directory.rglob("*")) if file.is_file()
    ]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
