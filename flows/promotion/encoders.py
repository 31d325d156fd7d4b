"""The encoders of a pipeline run in the registry, and which of them ``frozen-best`` and
``finetune-best`` point at.

Both are chosen on validation images alone: the test split has no say in it. They may be different
checkpoints of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.adapters.dvc import lockfile
from flows.adapters.dvc.hashes import md5
from flows.adapters.mlflow.store import Store
from flows.lineage import trace as lineage
from flows.project.git import answer
from flows.promotion import model_card
from flows.registry import versions
from flows.registry.registration import CARD, describe, one_at_a_time, register
from flows.registry.versions import (
    ENCODER,
    EVALUATION,
    FINETUNE_BEST,
    FORGOTTEN,
    FROZEN_BEST,
    ModelVersion,
)
from stages.core import paths
from stages.core.io import read_csv, read_json

ENCODERS = {"pretrained": paths.PRETRAINED, "distilled": paths.DISTILLED}
WHY = "rootstock.alias_why"
VALIDATION = "rootstock.validation"
SCORES = {
    FROZEN_BEST: "rootstock.validation_frozen",
    FINETUNE_BEST: "rootstock.validation_finetuned",
}
MEANING = {FROZEN_BEST: "linear probe, weights untouched", FINETUNE_BEST: "all weights fine-tuned"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class EncoderCandidate:
    """An encoder of the workspace with its validation accuracies by alias; an encoder may have been
    tried one way only.
    """

    name: str
    directory: Path
    digest: str
    run: str
    parameters: int
    scores: Mapping[str, float]


def register_encoders(
    store: Store, made_by: Mapping[str, str], say: Say
) -> dict[str, ModelVersion]:
    """Register what is new and move the aliases to the best; returns alias → version. Nothing is
    done twice.
    """
    standings = read_standings(made_by)
    found = {one.name: _register(store, one, standings, made_by) for one in standings}
    chosen = {}
    for alias in SCORES:
        tried = [one for one in standings if alias in one.scores]
        if tried:
            best = max(tried, key=lambda one: (one.scores[alias], -one.parameters))
            chosen[alias] = point(store, alias, found[best.name], best, say)
    return chosen


def read_standings(made_by: Mapping[str, str]) -> list[EncoderCandidate]:
    """The encoders that ``dvc.lock`` knows, with what finetune and evaluate measured on
    validation.
    """
    outputs = {
        path: digest
        for entry in lockfile.read_lock().values()
        for path, digest in entry.outputs.items()
    }
    scores = _scores() if str(paths.reports("evaluate")) in outputs else {}
    standings = []
    for name, directory in ENCODERS.items():
        if (
            str(directory) in outputs
            and str(directory) in made_by
            and (directory / "config.json").is_file()
        ):
            config = read_json(directory / "config.json")
            if not config.get("student", True):
                continue  # the teacher itself, passed on
            parameters = int(config["parameters"])
            run, digest = made_by[str(directory)], outputs[str(directory)]
            standings.append(
                EncoderCandidate(name, directory, digest, run, parameters, scores.get(name, {}))
            )
    return standings


def _scores() -> dict[str, dict[str, float]]:
    """Encoder → alias → validation accuracy with all labels, of whatever evaluate and finetune
    trained from it.
    """
    found: dict[str, dict[str, float]] = {}
    for row in read_csv(paths.reports("evaluate") / "table.csv"):
        alias = {"linear": FROZEN_BEST, "full": FINETUNE_BEST}.get(row["protocol"])
        if alias and row["labels_per_class"] == "all":
            found.setdefault(row["model"], {})[alias] = float(row["validation_accuracy"])
    candidates = paths.reports("finetune") / "candidates.csv"
    for row in read_csv(candidates) if candidates.is_file() else []:
        if row["method"] == "full":
            own = found.setdefault(row["encoder"], {})
            accuracy = float(row["validation_accuracy"])
            own[FINETUNE_BEST] = max(accuracy, own.get(FINETUNE_BEST, 0.0))
    return found


def _register(
    store: Store,
    one: EncoderCandidate,
    standings: list[EncoderCandidate],
    made_by: Mapping[str, str],
) -> ModelVersion:
    known = versions.find(store, one.digest, ENCODER)
    evaluation = made_by.get(str(paths.reports("evaluate")), "")
    if known and known.tags.get(EVALUATION) == evaluation:
        return known
    pool = next(
        (
            entry.outputs[str(paths.POOL)]
            for entry in lockfile.read_lock().values()
            if str(paths.POOL) in entry.outputs
        ),
        "",
    )
    commit = answer("rev-parse", "HEAD")
    tags = {
        "rootstock.data": pool,
        "git.commit": commit,
        VALIDATION: validation_digest(),
        EVALUATION: evaluation,
        **{SCORES[alias]: f"{score:.6g}" for alias, score in one.scores.items()},
    }
    facts = model_card.facts(one.name, one.run, one.digest, pool, commit)
    marks = {versions.DIGEST: one.digest, versions.STAGE_RUN: one.run}
    chain = lineage.trace(versions.Unregistered(store, ENCODER, "", marks, (), one.directory))
    papers = model_card.documents(ENCODER, one.directory, facts, selection(standings), chain)
    if known is None:
        return register(store, ENCODER, one.directory, one.digest, one.run, tags, papers)
    known.tag(
        {key: value for key, value in tags.items() if key.startswith("rootstock.")}
    )  # the same weights, evaluated again
    describe(known, papers[CARD])
    return known


def selection(standings: list[EncoderCandidate]) -> str:
    """What the aliases are chosen by, as a table: this is the encoder's gate table."""
    header = ("encoder of the same run", *(f"{alias}: {MEANING[alias]}" for alias in SCORES))
    shown = [
        [f"{one.scores[alias]:.4f}" if alias in one.scores else "not tried" for alias in SCORES]
        for one in standings
    ]
    rows = [[one.name, *cells] for one, cells in zip(standings, shown, strict=True)]
    return "\n".join(
        ["Accuracy on the validation images, all labels:", "", *model_card.table(header, rows)]
    )


def validation_digest() -> str:
    """Which images and labels the choice was made on: md5 over them, sorted; empty where there is
    no manifest.
    """
    if not paths.CURATED_MANIFEST.is_file():
        return ""
    from stages.core.data.manifest import Manifest

    manifest = Manifest.read(paths.CURATED_MANIFEST)
    rows = manifest.frame.iloc[manifest.labelled_rows("val")]
    lines = sorted(f"{one} {label}" for one, label in zip(rows["id"], rows["label"], strict=True))
    return md5("\n".join(lines))


def point(
    store: Store, alias: str, version: ModelVersion, best: EncoderCandidate, say: Say
) -> ModelVersion:
    """Let the alias point at the better of the run's best and who holds it now; both must have seen
    the same validation images, or the newer is taken and the reason says so. One trained on images
    that were forgotten since yields to any that was not.
    """
    with one_at_a_time():
        holder = versions.by_alias(store, alias, ENCODER)
        if holder is not None and holder.number == version.number:
            return holder
        score = best.scores[alias]
        why = f"{best.name} reaches {score:.4f} on validation ({MEANING[alias]})"
        if holder is not None:
            same = holder.tags.get(VALIDATION) == version.tags.get(VALIDATION)
            held = float(holder.tags.get(SCORES[alias], "nan"))
            tainted = holder.tags.get(FORGOTTEN) and not version.tags.get(FORGOTTEN)
            if same and score <= held and not tainted:
                return holder
            before = f"reached {held:.4f}" if same else "was chosen on other validation images"
            why += (
                f"; version {holder.number}"
                f" {before}{' and was trained on images forgotten since' if tainted else ''}"
            )
        version.tag({f"{WHY}.{alias}": why})
        store.client.set_registered_model_alias(ENCODER, alias, version.number)
        say(f"{ENCODER}@{alias} is version {version.number}: {why}")
        return versions.get(store, ENCODER, version.number)
