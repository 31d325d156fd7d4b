"""From trained to champion: register the model, let the gates decide, and where all agree move the
alias.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from flows.adapters.dvc import lockfile
from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.mlflow.store import Store
from flows.adapters.prefect import events
from flows.lineage import trace as lineage
from flows.project.git import answer
from flows.promotion import model_card
from flows.promotion.encoders import register_encoders
from flows.promotion.evidence import APPROVED, Evidence, Verdict
from flows.registry import versions
from flows.registry.aliases import (
    ROLLED_BACK,
    ROLLED_BACK_WHY,
    no_longer_candidate,
    now,
    promote_alias,
)
from flows.registry.packaging import DOCUMENTS
from flows.registry.registration import CARD, attach, describe, register
from flows.registry.versions import CANDIDATE, CHAMPION, CLASSIFIER, EVALUATION, ModelVersion
from stages.core import paths
from stages.core.errors import ConfigError, Refused
from stages.core.families import family
from stages.core.io import write_json, write_text
from stages.core.sections import Promote

GATE_TABLE = "rootstock.gates"
Say = Callable[[str], None]


@dataclass(frozen=True)
class PromotionOptions:
    """What a person wants of a promotion; the nightly run wants nothing in particular."""

    dry_run: bool = False
    """Ask the gates; register, tag and move nothing."""
    why: str = ""
    """The reason, kept with the version; it takes one to bring back what was rolled back."""
    approved_by: str = ""
    new_task: bool = False
    """The images are another task than the champion's: there is nothing to compare it with."""


@dataclass(frozen=True)
class Promotion:
    """What promotion came to: the version, what every gate said, and whether the alias moved."""

    version: ModelVersion
    champion: ModelVersion | None
    verdicts: dict[str, Verdict]
    moved: bool
    verdict: str

    @property
    def refused(self) -> bool:
        """Whether a gate said no."""
        return any(verdict.passed is False for verdict in self.verdicts.values())

    def check(self) -> None:
        """Raise what a gate that said no stands for.

        Raises:
            Refused: one line with each gate that failed, what it found and what it wanted.
        """
        if failed := {
            name: found for name, found in self.verdicts.items() if found.passed is False
        }:
            said = "; ".join(
                f"{name} is {found.value}, wanted"
                f" {found.threshold}{f' ({found.reason})' if found.reason else ''}"
                for name, found in failed.items()
            )
            raise Refused(f"promotion refused: {said}")

    def rows(self) -> list[dict[str, str]]:
        """Return the gate table."""
        return gate_rows(self.verdicts)


def promote(
    store: Store,
    settings: Promote,
    say: Say,
    made_by: Mapping[str, str],
    wish: PromotionOptions = PromotionOptions(),
) -> Promotion:
    """Register the classifier of the workspace if it is new, and make it champion if every gate
    agrees.

    One that was rolled back stays where it is: a nightly run on unchanged data makes it again, and
    its gates would agree again.

    Args:
        made_by: output path → the MLflow run that made it.

    Raises:
        ConfigError: there is no classifier in ``dvc.lock``; a new task without a reason.
        Refused: another promotion moved the champion while the gates were computed.
    """
    for name in settings.gates:
        family("promote.gates").check(name)
    if wish.new_task and not wish.why:
        raise ConfigError(
            "--new-task leaves the comparison with the champion out, which takes a reason: --why"
            " TEXT"
        )
    if not wish.dry_run:
        events.flush_outbox()
        register_encoders(store, made_by, say)
    candidate = _candidate(store, made_by, wish.dry_run)
    if wish.approved_by and wish.dry_run:  # the approval holds for this question only
        candidate.tags[APPROVED] = wish.approved_by
    elif wish.approved_by:
        candidate.tag({APPROVED: wish.approved_by, "rootstock.approved_at": now()})
    champion = versions.by_alias(store, CHAMPION)
    if champion is not None and champion.number == candidate.number:
        if not wish.dry_run:
            no_longer_candidate(candidate)
        return Promotion(candidate, champion, {}, False, f"{candidate.title} is champion already")
    if candidate.tags.get(ROLLED_BACK) and not wish.why:
        told = f"{candidate.title} was rolled back ({candidate.tags.get(ROLLED_BACK_WHY)})"
        return Promotion(
            candidate,
            champion,
            {},
            False,
            f"{told}: rootstock promote --why TEXT asks its gates again",
        )
    if not wish.dry_run:
        store.client.set_registered_model_alias(CLASSIFIER, CANDIDATE, candidate.number)
    compared = None if wish.new_task else champion
    verdicts = judge(
        Evidence(candidate, compared, settings.resamples, new_task=wish.new_task), settings
    )
    for name, found in verdicts.items():
        say(f"{word(found):<4} {name:<12} {found.value}  {found.interval}  {found.reason}".rstrip())
    refused = [name for name, found in verdicts.items() if found.passed is False]
    if not wish.dry_run:
        _keep_table(candidate, verdicts)
    if refused:
        stays = f"{champion.title} stays champion" if champion else "there is no champion"
        return Promotion(
            candidate,
            champion,
            verdicts,
            False,
            f"{candidate.title} refused by {', '.join(refused)}; {stays}",
        )
    if wish.dry_run:
        return Promotion(
            candidate, champion, verdicts, False, f"{candidate.title} would become champion"
        )
    promote_alias(
        candidate,
        champion,
        {"rootstock.promoted_why": wish.why or "all gates passed", **_comparison(verdicts)},
    )
    replaced = f", replacing version {champion.number}" if champion else ""
    done = versions.get(store, CLASSIFIER, candidate.number)
    return Promotion(
        done, champion, verdicts, True, f"version {candidate.number} is champion{replaced}"
    )


def promote_run(store: Store, made_by: Mapping[str, str], settings: Promote, say: Say) -> Promotion:
    """Promote what a run has made; the result can travel to another process: it holds no store."""
    found = promote(store, settings, say, made_by)
    nowhere = cast(Any, None)
    champion = replace(found.champion, store=nowhere) if found.champion else None
    return replace(found, version=replace(found.version, store=nowhere), champion=champion)


def judge(evidence: Evidence, settings: Promote) -> dict[str, Verdict]:
    """Ask every gate that is on, in the order of params.yaml."""
    verdicts = {}
    for name, threshold in settings.gates.items():
        if threshold is False:
            continue
        gate = family("promote.gates").load(name)
        if isinstance(threshold, dict):
            for metric, least in threshold.items():
                verdicts[f"{name}.{metric}"] = gate.check(evidence, least, metric)
        else:
            verdicts[name] = gate.check(evidence, float(threshold))
    return verdicts


def gate_rows(verdicts: Mapping[str, Verdict]) -> list[dict[str, str]]:
    """Return the gate table: gate, verdict, value, threshold, interval and reason as text."""
    return [
        {
            "gate": name,
            "verdict": word(found),
            "value": found.value,
            "threshold": found.threshold,
            "interval": found.interval,
            "reason": found.reason,
        }
        for name, found in verdicts.items()
    ]


def word(verdict: Verdict) -> str:
    """How a verdict reads in a table."""
    return {True: "pass", False: "FAIL", None: "n/a"}[verdict.passed]


def _candidate(store: Store, made_by: Mapping[str, str], dry_run: bool) -> ModelVersion:
    """The classifier of the workspace: its version, made where there is none; unregistered for a
    dry run.
    """
    entries = lockfile.read_lock()
    maker, digest = _output(entries, paths.FINETUNED)
    _, data = (
        _output(entries, paths.POOL_MANIFEST.parent)
        if _has(entries, paths.POOL_MANIFEST.parent)
        else (None, "")
    )
    evaluation = made_by.get(str(paths.reports("evaluate")), "")
    tags = {
        EVALUATION: evaluation,
        "rootstock.data": data,
        "git.commit": answer("rev-parse", "HEAD"),
        "rootstock.identity": maker.identity,
    }
    run = made_by[str(paths.FINETUNED)]
    marks = {versions.DIGEST: digest, versions.STAGE_RUN: run, **tags}
    unregistered = versions.Unregistered(store, CLASSIFIER, "", marks, ())
    if dry_run:
        known = versions.find(store, digest)
        newest = {EVALUATION: evaluation} if evaluation else {}
        return replace(known, tags={**known.tags, **newest}) if known else unregistered
    facts = model_card.facts(maker.stage, run, digest, data, tags["git.commit"])
    papers = model_card.documents(
        CLASSIFIER,
        paths.FINETUNED,
        facts,
        model_card.classifier_results(),
        lineage.trace(unregistered),
    )
    version = register(store, CLASSIFIER, paths.FINETUNED, digest, run, tags, papers)
    if evaluation and version.tags.get(EVALUATION) != evaluation:
        version.tag({EVALUATION: evaluation})
    return version


def _has(entries: Mapping[str, LockEntry], path: Path) -> bool:
    return any(str(path) in entry.outputs for entry in entries.values())


def _output(entries: Mapping[str, LockEntry], path: Path) -> tuple[LockEntry, str]:
    for entry in entries.values():
        if str(path) in entry.outputs:
            return entry, entry.outputs[str(path)]
    raise ConfigError(f"dvc.lock knows no {path}: rootstock run makes it")


def _comparison(verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    found = verdicts.get("champion")
    if found is None or found.passed is None:  # the first has nothing to differ from
        return {}
    return {"rootstock.delta": found.value, "rootstock.delta_interval": found.interval}


def _keep_table(version: ModelVersion, verdicts: Mapping[str, Verdict]) -> None:
    """The gate table beside the version, as a file of its run and in ``reports/promote``, whatever
    it says.
    """
    table = {name: asdict(verdict) for name, verdict in verdicts.items()}
    rows = gate_rows(verdicts)
    by_gate = {row["gate"]: {key: row[key] for key in row if key != "gate"} for row in rows}
    version.tag({GATE_TABLE: json.dumps(by_gate)[:5000]})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"version-{version.number}.json"
        write_json(file, table)
        version.store.client.log_artifact(version.stage_run, str(file), "gates")
    shown = model_card.gate_table(rows)
    attach(version, {"gates.md": shown})
    write_text(
        paths.reports("promote") / "gates.md", f"# {version.name} {version.title}\n\n{shown}\n"
    )
    card = version.folder / DOCUMENTS / CARD
    describe(version, f"{card.read_text() if card.is_file() else ''}\n\n{shown}")
