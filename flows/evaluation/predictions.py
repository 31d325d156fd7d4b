"""Predictions of a registered version on the test split, as its evaluation logged them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flows.registry.versions import PREDICTIONS, ModelVersion

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predictions:
    """One row per test image."""

    table: pd.DataFrame

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities ``(N, K)``, a column per class in sorted order."""
        return np.stack(self.table["probabilities"].to_list()).astype(np.float64)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, from whether the likeliest class is right: a class may occur
        in no test image.
        """
        from stages.core.metrics.intervals import calibration_error

        shares = self.probabilities
        return calibration_error(shares, np.where(self.correct, shares.argmax(axis=1), -1))

    @property
    def groups(self) -> NDArray[Any] | None:
        """The group of each image, ``(N,)``, None where it has none; None where the manifest names
        fewer than two.
        """
        found = self.table.get("group")
        if found is None or found.nunique() < 2:
            return None
        return np.array([name if isinstance(name, str) else None for name in found], dtype=object)

    @property
    def corrupted(self) -> NDArray[np.float64] | None:
        """Correctness ``(M, C)`` on each corrupted copy of the images that were corrupted; None
        where none was tried.
        """
        answers = self.table.filter(regex="^predicted_")
        tried = answers.notna().to_numpy(bool).all(axis=1)
        if not len(answers.columns) or not tried.any():
            return None
        return np.asarray(
            answers[tried].astype(str).to_numpy() == self.labels[tried, None], dtype=np.float64
        )

    def right(self, control: str) -> NDArray[np.bool_] | None:
        """Whether a control was right, ``(N,)``; None where the evaluation kept no such control."""
        found = self.table.get(f"right_{control}")
        return None if found is None else found.to_numpy(bool)

    @property
    def method(self) -> str:
        """How the classifier was made: ``linear``, ``full`` or ``scratch``; empty where it is not
        known.
        """
        found = self.table.get("method")
        return "" if found is None or not len(found) else str(found.iloc[0])

    def labels_of(self, ids: NDArray[Any]) -> NDArray[Any]:
        """The labels of these images, ``(N,)``."""
        known = dict(zip(self.table["id"].astype(str), self.labels, strict=True))
        return np.array([known[name] for name in ids], dtype=object)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right, ``(N,)``."""
        return np.asarray(self.table["predicted"].astype(str) == self.table["label"].astype(str))

    @property
    def labels(self) -> NDArray[Any]:
        """The true label of each image, ``(N,)``."""
        return np.asarray(self.table["label"].astype(str), dtype=object)

    @property
    def numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Labels and answers as class numbers ``(N,)``, and the number of classes."""
        answers = np.asarray(self.table["predicted"].astype(str), dtype=object)
        names, codes = np.unique(np.concatenate([self.labels, answers]), return_inverse=True)
        count = len(answers)
        return codes[:count].astype(np.int64), codes[count:].astype(np.int64), len(names)

    def predictions(self) -> pd.DataFrame:
        """``label`` and ``predicted`` by image id, of equal images one."""
        return (
            self.table[["id", "label", "predicted"]]
            .astype(str)
            .drop_duplicates("id")
            .set_index("id")
        )

    def same_images(self, other: Predictions) -> bool:
        """Whether both were asked the same images with the same labels."""
        columns = ["id", "label"]
        first, second = (
            side.table[columns].astype(str).sort_values(columns).to_numpy()
            for side in (self, other)
        )
        return first.shape == second.shape and bool((first == second).all())

    def in_order_of(self, other: Predictions) -> Predictions:
        """These answers in the other's order of images; equal images count as many times as they
        occur.
        """
        mine, theirs = (side.table["id"].astype(str).to_numpy() for side in (self, other))
        order = np.empty(len(mine), dtype=np.int64)
        order[np.argsort(theirs, kind="stable")] = np.argsort(mine, kind="stable")
        return Predictions(self.table.iloc[order].reset_index(drop=True))


def answers(version: ModelVersion) -> Predictions | None:
    """The answers logged by the evaluation of a version."""
    import pandas as pd

    file = version.evaluation_file(PREDICTIONS)
    return Predictions(pd.read_parquet(file)) if file else None
