"""``rootstock compare``: two classifiers on the same test images, image by image, so that a
difference is told from chance.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.adapters.mlflow.store import Store
from flows.evaluation.predictions import Predictions, answers
from flows.registry import versions
from flows.registry.versions import ENCODER, ModelVersion
from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.io import write_csv

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.metrics.intervals import Interval

RESAMPLES, SEED = 10_000, 0


@dataclass(frozen=True)
class ClassRow:
    """One class: how often each is right, and the paired difference A − B with its own 95 %
    interval.
    """

    name: str
    images: int
    first: float
    second: float
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """Both answers to every image and what follows from them; differences are A − B."""

    first: ModelVersion
    second: ModelVersion
    table: pd.DataFrame
    """``id``, ``image``, ``label``, ``first``, ``second``: one row per test image."""
    accuracies: tuple[Interval, Interval]
    calibration: tuple[float, float]
    difference: Interval
    p_value: float
    classes: tuple[ClassRow, ...]
    reevaluated: bool

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.difference.excludes_zero:
            return "no difference that these images can tell from chance"
        better, worse = ("A", "B") if self.difference.value > 0 else ("B", "A")
        return f"{better} is better than {worse}"

    def only(self, first: bool) -> pd.DataFrame:
        """Rows that A gets right and B does not, or the other way round."""
        right, wrong = ("first", "second") if first else ("second", "first")
        return self.table[
            (self.table[right] == self.table["label"]) & (self.table[wrong] != self.table["label"])
        ]


def compare(store: Store, first: str, second: str) -> Comparison:
    """Compare two versions by what they answered in their evaluations, or, where those asked other
    images, anew.

    Raises:
        ConfigError: an unknown version, the same version twice, or no images that both can be
            asked.
    """
    from stages.core.metrics.intervals import bootstrap_interval, mcnemar, paired_bootstrap

    one, two = versions.resolve(store, first), versions.resolve(store, second)
    if ENCODER in (one.name, two.name):
        raise ConfigError(
            f"{ENCODER} answers no class: compare takes two classifiers, rootstock suggest ranks"
            " encoders"
        )
    if (one.name, one.number) == (two.name, two.number):
        raise ConfigError(f"{first} and {second} are the same version, {one.number}: name two")
    mine, yours, anew = _both(one, two)
    a, b = mine.correct, yours.correct
    accuracies = tuple(bootstrap_interval(right, RESAMPLES, SEED) for right in (a, b))
    rows = []
    for name in sorted(set(mine.labels)):
        inside = mine.labels == name
        difference = paired_bootstrap(a[inside], b[inside], RESAMPLES, SEED)
        rows.append(
            ClassRow(
                str(name),
                int(inside.sum()),
                float(a[inside].mean()),
                float(b[inside].mean()),
                difference,
            )
        )
    return Comparison(
        first=one,
        second=two,
        table=_table(mine, yours),
        accuracies=(accuracies[0], accuracies[1]),
        calibration=(mine.calibration_error, yours.calibration_error),
        difference=paired_bootstrap(a, b, RESAMPLES, SEED),
        p_value=mcnemar(a, b),
        classes=tuple(rows),
        reevaluated=anew,
    )


def text(found: Comparison, images: int) -> str:
    """The answer as lines; ``images`` names that many that only one of the two gets right."""
    lines = []
    for letter, version, share, gap in zip(
        "AB", (found.first, found.second), found.accuracies, found.calibration, strict=True
    ):
        names = f" ({', '.join(version.aliases)})" if version.aliases else ""
        lines.append(
            f"{letter}  {version.name} version {version.number}{names}: accuracy {share.value:.4f} "
            f"({share.low:.4f} … {share.high:.4f}), calibration error {gap:.4f}"
        )
    change = found.difference
    asked = "re-evaluated on the images of the workspace" if found.reevaluated else "as evaluated"
    lines += [
        (
            f"A − B  {change.value:+.4f} ({change.low:+.4f} … {change.high:+.4f}), McNemar p"
            f" {found.p_value:.4f}, {len(found.table)} images, {asked}"
        ),
        f"{found.verdict}",
        "",
        (
            f"{'class':<16} {'images':>6} {'A':>7} {'B':>7} {'A − B':>8}   95 % interval, each"
            " class on its own"
        ),
    ]
    for row in sorted(found.classes, key=lambda row: row.difference.value):
        mark = "  *" if row.difference.excludes_zero else ""
        lines.append(
            f"{row.name:<16} {row.images:>6} {row.first:>7.4f} {row.second:>7.4f}"
            f" {row.difference.value:>+8.4f}   {row.difference.low:+.4f} …"
            f" {row.difference.high:+.4f}{mark}"
        )
    for letter, other, first in (("A", "B", True), ("B", "A", False)):
        only = found.only(first)
        lines += ["", f"{len(only)} images that {letter} gets right and {other} does not"]
        lines += [
            f"  {row.image}  {row.label}: A {row.first}, B {row.second}"
            for row in only.head(images).itertuples()
        ]
    return "\n".join(lines)


def as_json(found: Comparison) -> str:
    """The answer for other programs."""
    sides = {}
    for letter, version, share, gap in zip(
        "ab", (found.first, found.second), found.accuracies, found.calibration, strict=True
    ):
        sides[letter] = {
            "model": version.name,
            "version": version.number,
            "accuracy": asdict(share),
            "calibration_error": gap,
            "only": found.only(letter == "a")["id"].tolist(),
        }
    whole: dict[str, Any] = {
        **sides,
        "difference": asdict(found.difference),
        "p_value": found.p_value,
        "verdict": found.verdict,
        "images": len(found.table),
        "reevaluated": found.reevaluated,
        "classes": [asdict(row) for row in found.classes],
    }
    return json.dumps(whole, indent=2)


def write(found: Comparison, path: Path) -> None:
    """Both answers to every image as CSV."""
    write_csv(path, list(found.table.columns), found.table.itertuples(index=False))


def _both(first: ModelVersion, second: ModelVersion) -> tuple[Predictions, Predictions, bool]:
    """Their answers in the same order, and whether they had to be re-evaluated."""
    mine, yours = answers(first), answers(second)
    if mine is not None and yours is not None and mine.same_images(yours):
        return mine, yours.in_order_of(mine), False
    return _ask(first), _ask(second), True


def _ask(version: ModelVersion) -> Predictions:
    """What a version answers to the test images of the workspace."""
    import pandas as pd

    from stages.core.data.manifest import Manifest
    from stages.core.image.pixel_store import PixelStore
    from stages.core.models.batch_inference import predict_rows

    if not paths.CURATED_MANIFEST.is_file() or not paths.POOL_PIXELS.is_dir():
        raise ConfigError(
            "the two were evaluated on different images and the workspace has none: rootstock run,"
            " or dvc pull"
        )
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    rows = manifest.labelled_rows("test")
    if not len(rows):
        raise ConfigError(
            "the two were evaluated on different images and the workspace has no labelled test"
            " image"
        )
    classes, probabilities = predict_rows(version.artifact, store, rows)
    columns = {
        "id": manifest.frame["id"].iloc[rows].to_numpy(),
        "label": manifest.frame["label"].iloc[rows].to_numpy(),
        "predicted": np.array(classes, dtype=object)[probabilities.argmax(axis=1)],
        "probabilities": list(probabilities),
    }
    return Predictions(pd.DataFrame(columns))


def _table(mine: Predictions, yours: Predictions) -> pd.DataFrame:
    import pandas as pd

    ids = mine.table["id"].astype(str).to_numpy()
    columns = {
        "first": mine.table["predicted"].astype(str),
        "second": yours.table["predicted"].astype(str),
    }
    frame = pd.DataFrame({"id": ids, "image": ids, "label": mine.labels, **columns})
    if paths.CURATED_MANIFEST.is_file():
        known = (
            pd.read_parquet(paths.CURATED_MANIFEST, columns=["id", "uri"])
            .dropna()
            .drop_duplicates("id")
        )
        frame["image"] = (
            frame["id"].map(dict(zip(known["id"], known["uri"], strict=True))).fillna(frame["id"])
        )
    return frame
