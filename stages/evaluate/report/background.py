"""What the page says about where its numbers come from: the data, the training curves, the
settings, the limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.core.data.manifest import Manifest
from stages.core.params import Params
from stages.evaluate.classifier import CORRUPTED
from stages.evaluate.evaluation import Inputs
from stages.evaluate.report.charts import Point, Series
from stages.evaluate.report.page import LOOKS, Background, Curve

CurveRows = Sequence[Mapping[str, str]]


def background(
    params: Params, manifest: Manifest, inputs: Inputs, curves: Mapping[str, CurveRows]
) -> Background:
    """``curves`` are the rows of each training stage's ``curve.csv``, by stage."""
    frame, size = manifest.frame, inputs.store.shape
    sources = ", ".join(sorted(frame["source"].unique()))
    dropped = (
        frame.loc[manifest.ok & ~manifest.kept, "reason"]
        .fillna("")
        .str.split(":")
        .str[0]
        .value_counts()
    )
    facts = [
        ("Source", sources),
        ("Images", f"{len(frame):,}"),
        (
            "Stored as",
            f"{size[2]} × {size[3]} pixels, {size[1]} channel{'s' if size[1] > 1 else ''}",
        ),
        ("Classes", f"{inputs.truth.classes:,}"),
        ("Unreadable, quarantined", f"{int((~manifest.ok).sum()):,}"),
        ("Left out by curation", f"{int(dropped.sum()):,}"),
    ]
    splits = [
        _split(manifest, called, names)
        for called, names in (
            ("Training", ("train", "none")),
            ("Validation", ("val",)),
            ("Test", ("test",)),
        )
    ]
    made = [
        ("Registered classifier", "models/finetuned", _flat(inputs.classifier.config)),
        *(
            (called, path, _flat(inputs.encoders[name].config))
            for name, called, path in (
                ("pretrained", "Pretrained encoder", "models/pretrained"),
                ("distilled", "Distilled encoder", "models/distilled"),
                ("control", "Control encoder", "models/control"),
                ("start", "Start weights", "models/start"),
            )
            if name in inputs.encoders
        ),
        ("Preprocessing", "preprocess.json", _flat(inputs.task.preprocess.model_dump())),
        (
            "Settings",
            "params.yaml",
            _flat(
                {
                    "seed": params.seed,
                    "finetune": params.finetune.model_dump(),
                    "evaluate": params.evaluate.model_dump(),
                }
            ),
        ),
    ]
    subtitle = f"{sources} · {inputs.truth.classes:,} classes · {len(frame):,} images"
    return Background(
        subtitle,
        facts,
        splits,
        _curves(curves),
        made,
        _notes(params, manifest, inputs),
        _descriptions(inputs),
    )


def _split(manifest: Manifest, called: str, names: tuple[str, ...]) -> dict[str, str]:
    inside = manifest.kept & manifest.frame["split"].isin(names).to_numpy(bool)
    labelled = inside & manifest.frame["label"].notna().to_numpy(bool)
    return {
        "name": called,
        "images": f"{int(inside.sum()):,}",
        "labelled": f"{int(labelled.sum()):,}",
    }


def _descriptions(inputs: Inputs) -> dict[str, str]:
    sizes = {
        name: f"{one.backbone.name}, {one.backbone.parameter_count:,} parameters"
        for name, one in inputs.encoders.items()
    }
    large, small = sizes["pretrained"], sizes.get("distilled", "")
    method = inputs.encoders["pretrained"].config.get("method", "")
    return {
        "pixels": "learns nothing",
        "random": large,
        "random-student": small,
        "scratch": f"{large}; the labels only",
        "control": f"{large}; the simplest objective",
        "start": f"{large}; without own pretraining",
        "pretrained": f"{large}; {method}",
        "distilled": small,
        "finetuned": f"{inputs.classifier.config['method']}; this is what gets registered",
    }


def _notes(params: Params, manifest: Manifest, inputs: Inputs) -> list[str]:
    own = params.evaluate
    notes = [
        "The test split is read once, here. Features are computed in eval mode on clean images with"
        " the published preprocessing."
    ]
    for split, used in (
        ("train", inputs.rows.train),
        ("val", inputs.rows.validation),
        ("test", inputs.rows.test),
    ):
        there = len(manifest.labelled_rows(split))
        if len(used) < there:
            notes.append(
                f"Of {there:,} labelled {split} images {len(used):,} are used here"
                " (evaluate.max_images)."
            )
    few = np.bincount(inputs.truth.train, minlength=inputs.truth.classes).min()
    short = [count for count in sorted(own.labels_per_class) if count > few]
    if short:
        given = " and ".join(map(str, short))
        notes.append(
            f"The rarest class has {few} labelled training images: with {given} labels per class it"
            " gives all it has."
        )
    if len(inputs.truth.test) > CORRUPTED:
        notes.append(f"Corruptions are applied to {CORRUPTED:,} of the test images.")
    notes.append(
        "Training from scratch and fine-tuning use the same augmentation and as many steps;"
        " settings were picked on validation with all labels."
    )
    return notes


def _curves(curves: Mapping[str, CurveRows]) -> list[Curve]:
    pretraining = list(dict.fromkeys(row.get("run", "") for row in curves.get("pretrain", ())))
    made = [
        Curve(
            title,
            "step",
            y,
            [
                _line(
                    run,
                    [row for row in curves.get("pretrain", ()) if row.get("run", "") == run],
                    column,
                )
                for run in pretraining
            ],
        )
        for title, y, column in (
            ("Pretraining: loss", "loss", "loss"),
            ("Pretraining: kNN on validation", "accuracy", "knn"),
        )
    ]
    made.append(
        Curve(
            "Distillation: cosine to the teacher's features",
            "step",
            "cosine",
            [_line("distilled", curves.get("distill", ()), "cosine")],
        )
    )
    made.append(
        Curve(
            "Fine-tuning: loss",
            "step",
            "loss",
            [_line("finetuned", curves.get("finetune", ()), "loss")],
        )
    )
    shown = [
        Curve(
            curve.title,
            curve.x_title,
            curve.y_title,
            [line for line in curve.series if len(line.points) > 1],
        )
        for curve in made
    ]
    return [curve for curve in shown if curve.series]


def _line(run: str, rows: CurveRows, column: str) -> Series:
    colour, shape, _ = LOOKS.get(run, LOOKS["pretrained"])
    points = [
        Point(float(row["step"]), float(row[column]), note=f"{float(row[column]):.4g}")
        for row in rows
        if row.get(column)
    ]
    return Series(run, colour, points, shape)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append((f"{prefix}{key}", shown))
    return rows
