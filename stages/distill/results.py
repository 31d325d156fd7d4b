"""What distillation has to tell: whether the student says what the teacher says, and how well it
does with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.image.pixel_store import PixelStore
from stages.core.io import write_csv, write_metrics
from stages.core.metrics.intervals import Interval, paired_bootstrap
from stages.core.metrics.representation import Array, embed, knn_predict, normalise, rankme
from stages.core.models.artifact import Encoder, save_model
from stages.core.random import numpy_generator
from stages.core.training.loop import History

NEIGHBOURS, RESAMPLES = 20, 2000
LARGEST = 5000
"""Images of each kind that the figures are measured on, at most."""
CURVE = ("step", "loss", "cosine", "learning_rate", "gradient_norm")


def metrics(
    student: Encoder, teacher: Encoder, manifest: Manifest, store: PixelStore, history: History
) -> dict[str, Any]:
    """Sizes; how much of the teacher's features the student's hold on validation images; kNN of
    both there.
    """
    sizes = {
        "parameters": student.backbone.parameter_count,
        "teacher_parameters": teacher.backbone.parameter_count,
    }
    bank, held = (
        _some(manifest.pretraining_rows()),
        _some(manifest.rows(manifest.kept & (manifest.frame["split"] == "val"))),
    )
    if not len(held):  # everything is for training: measure on it, as there is nothing else
        held = bank
    mine, yours = (
        embed(one, store, np.concatenate([bank, held]), "features") for one in (student, teacher)
    )
    cut = len(bank)
    found: dict[str, Any] = {
        **sizes,
        "share": sizes["parameters"] / sizes["teacher_parameters"],
        **explained(mine[:cut], yours[:cut], mine[cut:], yours[cut:]),
        "rankme": rankme(mine[cut:]),
        "teacher_rankme": rankme(yours[cut:]),
        **history.counts,
    }
    return {
        **found,
        "knn": _knn(student, manifest, store),
        "teacher_knn": _knn(teacher, manifest, store),
    }


def curve(history: History) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    """The training curve as a table."""
    return CURVE, history.table(CURVE)


def loss_of(
    student: Encoder, teacher: Encoder, manifest: Manifest, store: PixelStore, seed: int
) -> Interval | None:
    """Return kNN accuracy on validation of student minus teacher, paired; None without labels."""
    mine, yours = (_knn_correct(one, manifest, store) for one in (student, teacher))
    if mine is None or yours is None:
        return None
    return paired_bootstrap(mine, yours, RESAMPLES, seed)


def pass_on(
    teacher: Encoder,
    values: Mapping[str, Any],
    history: tuple[Sequence[str], Iterable[Sequence[str]]] | None = None,
) -> None:
    """Write the teacher in the place of a student, with the reason in metrics and configuration."""
    config = {**teacher.config, "student": False, "why": values["why"]}
    save_model(paths.DISTILLED, teacher.backbone, config, teacher.preprocess)
    own = {"parameters": teacher.backbone.parameter_count, "kept": "teacher"}
    write_metrics(paths.metrics("distill"), {**values, **own})
    write_csv(paths.reports("distill") / "curve.csv", *(history or (CURVE, [])))


def _knn(encoder: Encoder, manifest: Manifest, store: PixelStore) -> float | None:
    correct = _knn_correct(encoder, manifest, store)
    return None if correct is None else float(correct.mean())


def _knn_correct(
    encoder: Encoder, manifest: Manifest, store: PixelStore
) -> NDArray[np.bool_] | None:
    """Correctness on validation with the labelled training images as the bank; None where there are
    no labels.
    """
    bank, queries = _some(manifest.labelled_rows("train")), _some(manifest.labelled_rows("val"))
    if not len(bank) or not len(queries):
        return None
    features: Array = embed(encoder, store, np.concatenate([bank, queries]), "features")
    predicted = knn_predict(
        features[: len(bank)], manifest.labels(bank), features[len(bank) :], NEIGHBOURS
    )
    correct: NDArray[np.bool_] = predicted == manifest.labels(queries)
    return correct


def _some(rows: np.ndarray) -> np.ndarray:
    """At most :data:`LARGEST` rows, the same ones every time."""
    if len(rows) <= LARGEST:
        return rows
    return np.sort(
        numpy_generator(0, "distill figures", len(rows)).choice(rows, LARGEST, replace=False)
    )


def explained(
    student: Array, teacher: Array, held_student: Array, held_teacher: Array, ridge: float = 1e-3
) -> Mapping[str, float]:
    """How well a linear map from the student's features (n, d) gives the teacher's (n, D) on
    held-out images.

    Returns ``r2`` (share of the variance of the teacher's unit features, 1 is all, and below 0 is
    worse than their mean) and ``cosine`` (mean similarity of mapped and true features).
    """
    x, y = normalise(student).astype(np.float64), normalise(teacher).astype(np.float64)
    centre_x, centre_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - centre_x, y - centre_y
    gram = x.T @ x
    weights = np.linalg.solve(
        gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ y
    )
    truth = normalise(held_teacher).astype(np.float64)
    mapped = (normalise(held_student) - centre_x) @ weights + centre_y
    rest, spread = np.square(truth - mapped).sum(), np.square(truth - truth.mean(axis=0)).sum()
    cosine = (truth * mapped).sum(axis=1) / np.maximum(np.linalg.norm(mapped, axis=1), 1e-12)
    return {"r2": float(1 - rest / max(spread, 1e-12)), "cosine": float(cosine.mean())}
