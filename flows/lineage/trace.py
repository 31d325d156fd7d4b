"""What a model was made from: the chain of runs from a registered version to the source images,
read from MLflow alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.adapters.mlflow import long_tags
from flows.adapters.mlflow import store as tracking
from flows.adapters.mlflow.reader import RunRecord
from flows.adapters.mlflow.store import Store
from flows.registry import versions
from flows.registry.versions import ModelVersion

SOURCES = ".rootstock/fingerprint.json"
HASH = 10
NO_COMMIT = "none"
"""The tag ``git.commit`` of a run made where git named none."""


@dataclass(frozen=True)
class Step:
    """One stage execution in the chain: what it read, what it made, and with what."""

    stage: str
    run: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    parents: dict[str, str]
    """Input path → the run that made it."""
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]

    @classmethod
    def of(cls, run: RunRecord) -> Step:
        """Read a stage's run."""
        return cls(
            stage=run.tags.get(tracking.STAGE, run.name),
            run=run.run,
            inputs=long_tags.read(run.tags, tracking.INPUTS),
            outputs=long_tags.read(run.tags, tracking.OUTPUTS),
            parents=long_tags.read(run.tags, tracking.PARENTS),
            params=dict(sorted(run.params.items())),
            tags=run.tags,
            metrics=run.metrics,
        )

    @property
    def commit(self) -> str:
        """The git commit the stage's code came from, marked when the tree had changed since."""
        commit = self.tags.get("git.commit", "unknown")[:HASH]
        return f"{commit}+changes" if self.tags.get("git.dirty") == "true" else commit

    @property
    def has_commit(self) -> bool:
        """Whether the commit of the stage's code is known."""
        return self.tags.get("git.commit", NO_COMMIT) not in {"", NO_COMMIT}

    @property
    def imported(self) -> bool:
        """Whether the run was rebuilt here from an output made elsewhere."""
        return self.tags.get(tracking.IMPORTED) == "true"

    @property
    def settings(self) -> dict[str, str]:
        """Parameters from params.yaml, without what the stage resolved itself."""
        return {key: value for key, value in self.params.items() if not key.startswith("resolved.")}

    @property
    def machine(self) -> str:
        """Where it ran, as far as the numbers depend on it."""
        keys = ("device", "precision", "threads", "torch")
        return ", ".join(f"{key} {self.tags[key]}" for key in keys if key in self.tags)


@dataclass(frozen=True)
class Chain:
    """Every step behind a version, the newest first, and the paths whose origin is unknown."""

    version: ModelVersion
    steps: dict[str, Step]
    holes: tuple[str, ...]

    evaluation: Step | None = None
    """The run that tested it."""

    @property
    def source(self) -> str:
        """The digest of the source images, where the chain reaches them."""
        return next(
            (step.inputs[SOURCES] for step in self.steps.values() if SOURCES in step.inputs), ""
        )

    @property
    def complete(self) -> bool:
        """Whether every step's inputs have a known origin and the chain ends at source images."""
        return bool(self.steps) and not self.holes and bool(self.source)


def trace(version: ModelVersion) -> Chain:
    """Follow a version back to its sources."""
    steps: dict[str, Step] = {}
    holes: list[str] = []
    waiting = [version.stage_run]
    while waiting:
        run = waiting.pop(0)
        if run in steps:
            continue
        step = _read(version.store, run)
        if step is None:
            holes.append(f"run {run[:HASH] or '(none)'} is not in the store")
            continue
        steps[run] = step
        for path, digest in step.inputs.items():
            if path in step.parents:
                waiting.append(step.parents[path])
            elif path.startswith(("data/", "models/")):
                holes.append(
                    f"{step.stage} read {path} ({digest[:HASH]}) and no run says what made it"
                )
    holes += _mismatches(steps)
    return Chain(
        version,
        steps,
        tuple(holes),
        _read(version.store, version.tags.get(versions.EVALUATION, "")),
    )


def _read(store: Store, run: str) -> Step | None:
    found = store.facts.run(run) if run else None
    return Step.of(found) if found else None


def _mismatches(steps: dict[str, Step]) -> Iterator[str]:
    """An input must be, byte for byte, what its parent put out."""
    for step in steps.values():
        for path, run in step.parents.items():
            made = steps[run].outputs.get(path) if run in steps else None
            if made is not None and made != step.inputs[path]:
                yield (
                    f"{step.stage} read {path} as {step.inputs[path][:HASH]}, {steps[run].stage}"
                    f" made {made[:HASH]}"
                )


def tree(chain: Chain) -> str:
    """The chain as text: each step once, with hashes, run, commit and parameters."""
    version = chain.version
    names = f" ({', '.join(version.aliases)})" if version.aliases else ""
    lines = [f"{version.name} version {version.number}{names}  {version.digest}"]
    if evaluation := chain.evaluation:
        lines += [
            f"├─ evaluated by run {evaluation.run}  commit {evaluation.commit}",
            *_facts(evaluation, "│    "),
        ]
    if version.stage_run in chain.steps:
        lines += _branch(chain, version.stage_run, "", set(), last=True)
    lines += [f"!! {hole}" for hole in chain.holes]
    return "\n".join(lines)


def _branch(chain: Chain, run: str, indent: str, shown: set[str], last: bool) -> list[str]:
    step = chain.steps[run]
    head = f"{indent}{'└─' if last else '├─'} {step.stage}"
    if run in shown:
        return [f"{head}  run {run} (above)"]
    shown.add(run)
    lines = [f"{head}  run {run}  commit {step.commit}{'  imported' if step.imported else ''}"]
    inner = indent + ("   " if last else "│  ")
    below = dict.fromkeys(parent for parent in step.parents.values() if parent in chain.steps)
    parents = sorted(below, key=depths(chain).__getitem__)[::-1]  # the longest branch is told first
    lines += _facts(step, inner + ("│  " if parents else "   "))
    for position, parent in enumerate(parents):
        lines += _branch(chain, parent, inner, shown, last=position == len(parents) - 1)
    return lines


def _facts(step: Step, indent: str) -> list[str]:
    lines = [f"{indent}{path}  {digest}" for path, digest in step.outputs.items()]
    if SOURCES in step.inputs:
        lines.append(f"{indent}from source images  {step.inputs[SOURCES]}")
    if step.settings:
        lines.append(
            indent + "with " + ", ".join(f"{key}={value}" for key, value in step.settings.items())
        )
    if step.machine:
        lines.append(f"{indent}on {step.machine}")
    return lines


def depths(chain: Chain) -> dict[str, int]:
    """Run → steps between it and the sources, by the longest way."""
    known: dict[str, int] = {}

    def depth(run: str) -> int:
        if run not in known:
            parents = {
                parent for parent in chain.steps[run].parents.values() if parent in chain.steps
            }
            known[run] = 1 + max((depth(parent) for parent in parents), default=-1)
        return known[run]

    for run in chain.steps:
        depth(run)
    return known


def as_json(chain: Chain, checks: Sequence[Mapping[str, str]] | None = None) -> str:
    """The chain as text for other programs, with what was found where it was verified."""
    return json.dumps(
        {**as_dict(chain), **({} if checks is None else {"checks": checks})}, indent=2
    )


def as_dict(chain: Chain) -> dict[str, Any]:
    """The chain for other programs."""
    version = chain.version
    return {
        "model": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "digest": version.digest,
        "complete": chain.complete,
        "holes": list(chain.holes),
        "source": chain.source,
        "steps": [
            {
                "stage": step.stage,
                "run": step.run,
                "commit": step.tags.get("git.commit", ""),
                "dirty": step.tags.get("git.dirty") == "true",
                "packages": step.tags.get("requirements.sha256", ""),
                "imported": step.imported,
                "identity": step.tags.get(tracking.IDENTITY, ""),
                "inputs": step.inputs,
                "outputs": step.outputs,
                "parents": step.parents,
                "params": step.params,
                "machine": {
                    key.removeprefix("machine."): text
                    for key, text in step.tags.items()
                    if key.startswith("machine.")
                },
            }
            for step in chain.steps.values()
        ],
    }
