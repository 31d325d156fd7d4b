"""The model card of a registered version, written from what the pipeline knows: nothing in it is
typed by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.lineage import trace
from flows.lineage.trace import Chain, Step
from stages.core import paths
from stages.core.io import read_json

DATASHEET = paths.reports("validate") / "datasheet.md"


def documents(
    name: str, directory: Path, facts: Mapping[str, str], results: str, chain: Chain | None = None
) -> dict[str, str]:
    """File name → text: the model card, and the datasheet where validation wrote one.

    Args:
        facts: what it was made from, by title.
        results: the section with its figures.
        chain: what it was made from.
    """
    sheet = {"datasheet.md": DATASHEET.read_text()} if DATASHEET.is_file() else {}
    return {
        "model_card.md": card(
            name, directory, facts, results, made_from(chain) if chain else [], bool(sheet)
        ),
        **sheet,
    }


def card(
    name: str,
    directory: Path,
    facts: Mapping[str, str],
    results: str,
    origin: Sequence[str],
    has_sheet: bool,
) -> str:
    """The card as Markdown."""
    config, preprocess = (
        read_json(directory / "config.json"),
        read_json(directory / "preprocess.json"),
    )
    size, channels = preprocess["size"], preprocess["channels"]
    answers = (
        f"`label`, `probability` and `p.<class>` for {len(config['classes'])} classes:"
        f" {_some(config['classes'])}"
        if config["kind"] == "classifier"
        else f"`features`, {config['num_features']} numbers per image"
    )
    known = {
        "Architecture": f"{config['backbone']}, {config['parameters']:,} parameters",
        "Trained by": config["method"],
        **facts,
    }
    use = (
        "Telling its classes apart in images like those it was trained on. It gives every image one"
        " of them, also an image of something else; `rootstock drift` says when images stop looking"
        " like its training images."
        if config["kind"] == "classifier"
        else (
            "Features for a linear probe, for neighbours or for fine-tuning (`rootstock suggest"
            " FOLDER` says whether it fits)."
        )
    )
    return "\n".join(
        [
            f"# {name}",
            "",
            *table(("", ""), known.items()),
            "",
            "## Use",
            "",
            use,
            "",
            (
                "Takes a column `image` (base64 of an encoded image of any size) or `pixels`"
                f" (uint8 {size} × {size} × {channels}); answers {answers}."
            ),
            "",
            "## Preprocessing",
            "",
            (
                f"Shorter side to {size} px ({preprocess['interpolation']}), centre square,"
                f" {'grey' if channels == 1 else 'RGB'}, then (pixels / 255 − mean) / std with mean"
                f" {preprocess['mean']} and std {preprocess['std']}. The model does this itself;"
                " arrays of another shape or type are refused."
            ),
            "",
            "## Results",
            "",
            results,
            "",
            *origin,
            "## Data",
            "",
            (
                "documents/datasheet.md describes the images."
                if has_sheet
                else "No datasheet was written for this data version."
            ),
            "",
            (
                f"`rootstock lineage {name}@VERSION --verify` leads from these weights to the"
                " source images."
            ),
        ]
    )


def made_from(chain: Chain) -> list[str]:
    """The way back to the source images as a section: a row per run, the newest first."""
    depth_of = trace.depths(chain)
    steps = sorted(chain.steps.values(), key=lambda step: -depth_of[step.run])
    rows = [(step.stage, f"`{step.run}`", ", ".join(_made(step))) for step in steps]
    if chain.source:
        rows.append(("source images", "", f"`{chain.source[: trace.HASH]}`"))
    return ["## Made from", "", *table(("stage", "run", "made"), rows), ""]


def _made(step: Step) -> list[str]:
    """What later stages read: the data and models of a step, each with the beginning of its
    hash.
    """
    kept = {
        path: digest
        for path, digest in step.outputs.items()
        if path.startswith(("data/", "models/"))
    }
    return [f"{path} `{digest[: trace.HASH]}`" for path, digest in (kept or step.outputs).items()]


def classifier_results() -> str:
    """What ``metrics/evaluate.json`` says of the classifier in the workspace; nothing where it was
    not evaluated.
    """
    if not paths.metrics("evaluate").is_file():
        return "Not evaluated."
    found = read_json(paths.metrics("evaluate")).get("finetuned", {})
    rows = [
        ("accuracy on the test images", _interval(found)),
        ("test images", f"{found.get('test_images', '')}"),
    ]
    if "worst_class" in found:
        rows.append(
            (f"worst class, {found['worst_class']['name']}", _interval(found["worst_class"]))
        )
    if "corrupted" in found:
        rows.append(("blurred, noisy and faded images", _interval(found["corrupted"])))
    if "calibration_error" in found:
        rows.append(("expected calibration error", f"{found['calibration_error']:.4f}"))
    return "\n".join(table(("figure", "value"), rows))


def gate_table(rows: Iterable[Mapping[str, str]]) -> str:
    """The gate table as Markdown."""
    columns = ("gate", "verdict", "value", "threshold", "interval", "reason")
    return "\n".join(
        ["## Gates", "", *table(columns, [[row[column] for column in columns] for row in rows])]
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]


def facts(stage: str, run: str, digest: str, data: str, commit: str) -> dict[str, str]:
    """What a version was made from, by title."""
    return {
        "Weights": f"`{digest}`",
        "Made by": f"stage {stage}, run `{run}`",
        "Data": f"`{data}`",
        "Code": f"`{commit}`",
    }


def _interval(found: Mapping[str, Any]) -> str:
    if "accuracy" not in found:
        return "unknown"
    return f"{found['accuracy']:.4f} ({found['low']:.4f} … {found['high']:.4f})"


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
