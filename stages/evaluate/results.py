"""What evaluate writes beside the page: metrics, the table, the confusion matrix, the predictions
that gates compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stages.core import plugins
from stages.core.metrics.intervals import Interval
from stages.core.metrics.representation import Array, Labels, embed, rankme
from stages.evaluate.classifier import Verdict
from stages.evaluate.comparison import Table
from stages.evaluate.evaluation import Inputs
from stages.evaluate.ladder import Labelled, Row

TIDY = pa.schema(
    [
        ("model", pa.string()),
        ("protocol", pa.string()),
        ("labels_per_class", pa.string()),
        ("draw", pa.int32()),
        ("metric", pa.string()),
        ("item", pa.string()),
        ("value", pa.float64()),
    ]
)
TABLE = (
    "model",
    "protocol",
    "labels_per_class",
    "images",
    "draws",
    "accuracy",
    "low",
    "high",
    "validation_accuracy",
    "chosen",
    "undertrained",
)


def metrics(
    table: Table, verdict: Verdict, inputs: Inputs, features: Mapping[str, Labelled]
) -> dict[str, Any]:
    """``metrics/evaluate.json``: the registered classifier under ``finetuned``, the encoders, the
    gains, every row.
    """
    ladder: dict[str, Any] = {}
    for row in table.rows:
        ladder.setdefault(row.model, {}).setdefault(row.protocol, {})[row.budget] = table.interval(
            row
        ).as_dict("accuracy")
    gains: dict[str, Any] = {}
    for answer in table.comparisons():
        name = f"{answer.first.model} - {answer.second.model}"
        gains.setdefault(name, {})[answer.budget] = {
            **answer.difference.as_dict(),
            "verdict": answer.verdict,
        }
    return {
        "finetuned": {
            **verdict.accuracy.as_dict("accuracy"),
            "calibration_error": verdict.calibration_error,
            "log_loss": verdict.log_loss,
            "worst_class": {
                "name": inputs.classifier.classes[verdict.worst_class],
                **verdict.worst.as_dict("accuracy"),
            },
            "corrupted": {
                **verdict.mean_corrupted.as_dict("accuracy"),
                **{
                    name: [value.value for value in values]
                    for name, values in verdict.corruptions.items()
                },
            },
            "parameters": inputs.classifier.network.backbone.parameter_count,
            "test_images": len(verdict.predicted),
        },
        "encoders": {name: _encoder(inputs, name, features[name].test) for name in inputs.encoders},
        "differences": gains,
        "ladder": ladder,
    }


def _encoder(inputs: Inputs, name: str, features: Array) -> dict[str, Any]:
    backbone = inputs.encoders[name].backbone
    return {
        "rankme": rankme(features),
        "dimensions": backbone.num_features,
        "parameters": backbone.parameter_count,
    }


def table_rows(table: Table) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
    """``table.csv``."""
    return TABLE, [
        [
            row.model,
            row.protocol,
            row.budget,
            row.images,
            row.draws,
            *_numbers(table.interval(row)),
            f"{row.validation:.6g}",
            row.chosen,
            str(row.undertrained).lower(),
        ]
        for row in table.rows
    ]


def tidy(table: Table, ids: Sequence[str], classes: int) -> pa.Table:
    """Return ``results.parquet``: one number a row, of the same rows as the page.

    The metric ``correct`` is 1 or 0 for each test image (``item``); the metrics of
    :mod:`stages.core.metrics.classification` are one number for each draw (``item`` is null).
    """
    metrics = "stages.core.metrics.classification"
    scores = {name: plugins.load(metrics, name).score for name in plugins.names(metrics)}
    parts = []
    for row in table.rows:
        about = {"model": row.model, "protocol": row.protocol, "labels_per_class": row.budget}
        for draw in range(row.draws):
            predicted = row.predicted[:, draw]
            items: list[str | None] = [*ids, *[None] * len(scores)]
            metric = ["correct"] * len(ids) + list(scores)
            values = [score(row.truth, predicted, classes) for score in scores.values()]
            columns = {name: [value] * len(items) for name, value in about.items()}
            own = {"draw": [draw] * len(items), "metric": metric, "item": items}
            numbers = {"value": [*row.correct[:, draw].astype(float), *values]}
            parts.append(pa.table({**columns, **own, **numbers}, schema=TIDY))
    return pa.concat_tables(parts)


def confusion_rows(
    verdict: Verdict, classes: Sequence[str]
) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
    """``confusion.csv``: pairs that occur, with their counts; DVC draws it as a plot."""
    cells = zip(*np.nonzero(verdict.confusion), strict=True)
    return ("actual", "predicted", "count"), [
        [classes[i], classes[j], int(verdict.confusion[i, j])] for i, j in cells
    ]


def predictions(
    verdict: Verdict,
    ids: Sequence[str],
    groups: Sequence[str | None],
    truth: Labels,
    classes: Sequence[str],
    controls: Mapping[str, Row],
    method: str,
) -> pa.Table:
    """``predictions.parquet``: one row per test image, in manifest order, with all that gates need
    and no tensor.

    ``predicted_noise_2`` is the answer to the image under noise of strength 2, null where the image
    was not corrupted; ``right_scratch`` says whether the control of that name was right, see
    :func:`stages.evaluate.comparison.controls`. The class of each probability is in the schema's
    metadata under ``classes``, one per line.
    """
    named = np.array(classes, dtype=object)
    rights = {
        f"right_{name}": pa.array(row.correct[:, 0], pa.bool_()) for name, row in controls.items()
    }
    columns: dict[str, pa.Array] = {
        "id": pa.array(ids, pa.string()),
        "group": pa.array([None if group != group else group for group in groups], pa.string()),
        "label": pa.array(named[truth], pa.string()),
        "predicted": pa.array(named[verdict.predicted], pa.string()),
        "probabilities": pa.array(
            list(verdict.probabilities.astype(np.float32)), pa.list_(pa.float32())
        ),
    }
    columns |= rights
    columns["method"] = pa.array([method] * len(truth), pa.string())
    for name, answers in verdict.corrupted.items():
        spread = np.full(len(truth), None, dtype=object)
        spread[verdict.chosen] = named[answers]
        columns[f"predicted_{name.replace('-', '_')}"] = pa.array(spread, pa.string())
    return pa.table(columns).replace_schema_metadata({"classes": "\n".join(classes)})


def embeddings(inputs: Inputs, ids: Sequence[str]) -> pa.Table:
    """``embeddings.parquet``: features of the registered classifier's encoder on the same rows, for
    gates on compatibility.
    """
    found = embed(inputs.classifier.encoder, inputs.store, inputs.rows.test, "embeddings")
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "embedding": pa.array(list(found), pa.list_(pa.float32())),
        }
    )


def _numbers(interval: Interval) -> list[str]:
    return [f"{value:.6g}" for value in (interval.value, interval.low, interval.high)]
