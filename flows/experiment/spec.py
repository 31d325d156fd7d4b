"""What an experiment is: fixed once, kept on disk, so that the same command resumes it after any
death.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.adapters.dvc import lockfile, run_cache
from flows.adapters.dvc import plan as dvc
from flows.experiment.design import Cell, Factor, factorial, factors_of, sobol
from flows.pipeline.preflight import check_choices
from flows.pipeline.stage import run_stage
from flows.project import worktrees
from flows.project.git import git, read_at, snapshot
from flows.project.params_file import override
from flows.project.worktrees import WORKDIR
from flows.registry import stage_inputs
from stages.core import paths
from stages.core.errors import ConfigError, StageFailed
from stages.core.io import canonical_json, read_json, write_json
from stages.core.params import load_params

EXPERIMENTS = paths.STATE / "experiments"


@dataclass(frozen=True)
class Request:
    """What was asked for, as on the command line."""

    data: tuple[str, ...] = (WORKDIR,)
    settings: tuple[str, ...] = ()
    seeds: int = 1
    jobs: int = 1
    name: str | None = None
    metric: str | None = None
    lower_is_better: bool = False
    to: str | None = None
    sample: int | None = None
    optuna: int | None = None
    pool: str | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("seeds", self.seeds),
            ("jobs", self.jobs),
            ("sample", self.sample),
            ("optuna", self.optuna),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"--{name} {value}: must be 1 or more")
        if self.sample and self.optuna:
            raise ConfigError(
                "--sample and --optuna are two ways to choose cells: give one of them"
            )

    def factors(self) -> list[Factor]:
        """The dataset versions, then the settings."""
        return factors_of(self.data, self.settings)

    def seed_values(self) -> range:
        """The seeds, from the one in params.yaml on: the first repetition shares its stages with
        the workspace.
        """
        first = load_params().seed
        return range(first, first + self.seeds)

    def cells(self) -> list[Cell]:
        """All cells of a factorial or a sample; none where Optuna chooses them one by one."""
        if self.optuna:
            return []
        factors, seeds = self.factors(), self.seed_values()
        return sobol(factors, seeds, self.sample) if self.sample else factorial(factors, seeds)


@dataclass(frozen=True)
class Spec:
    """An experiment with everything it depends on resolved to commits."""

    name: str
    root: str
    code: str
    data: Mapping[str, str]
    data_stages: tuple[str, ...]
    metric_file: str
    metric: str
    lower_is_better: bool
    to: str | None
    identity: str

    @property
    def folder(self) -> Path:
        """Where its state lies."""
        return Path(self.root) / EXPERIMENTS / self.name

    @property
    def report(self) -> Path:
        """Where its report goes."""
        return Path(self.root) / paths.REPORTS / "experiments" / self.name

    def write(self) -> None:
        """Keep it."""
        write_json(self.folder / "spec.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Spec:
        """Read it again."""
        values: dict[str, Any] = read_json(folder / "spec.json")
        return cls(**{**values, "data_stages": tuple(values["data_stages"])})


def begin(request: Request, root: Path) -> Spec:
    """Fix an experiment, or find the one that the same request on the same code and data began
    before.

    The code and the parameters no cell sets are those of the working tree; a dataset version gives
    the outputs of the data stages and nothing else, so that cells differ in data alone.

    Raises:
        ConfigError: an unknown version, stage or key; a setting that belongs to the data; a name
            taken by another experiment.
    """
    if WORKDIR in request.data:
        _bring_data_up_to_date()
    data_stages = tuple(run_cache.data_stages())
    stage, metric = _metric(request)
    code = snapshot(root, f"experiment/{request.name or 'latest'}")
    data = {
        version: code if version == WORKDIR else worktrees.resolve(root, version)
        for version in request.data
    }
    _check_settings(request, data_stages, root, data)
    asked = canonical_json(
        [
            git(root, "rev-parse", f"{code}^{{tree}}"),
            {version: _locked(root, commit, data_stages) for version, commit in data.items()},
            [[factor.key, factor.levels] for factor in request.factors()],
            [
                request.seeds,
                request.sample,
                request.optuna,
                stage,
                metric,
                request.lower_is_better,
                request.to,
            ],
        ]
    )
    identity = hashlib.sha256(asked.encode()).hexdigest()
    name = request.name or identity[:8]
    spec = Spec(
        name=name,
        root=str(root),
        code=code,
        data=data,
        data_stages=data_stages,
        metric_file=str(paths.metrics(stage)),
        metric=metric,
        lower_is_better=request.lower_is_better,
        to=request.to,
        identity=identity,
    )
    if (spec.folder / "spec.json").is_file():
        known = Spec.read(spec.folder)
        if known.identity != identity:
            raise ConfigError(
                f"experiment {name!r} exists with other cells, code or data: choose another --name,"
                f" or delete {spec.folder}"
            )
        return known
    git(root, "update-ref", f"refs/rootstock/experiment/{name}", code)
    spec.write()
    return spec


def _bring_data_up_to_date() -> None:
    """The data stages of the working tree, run where they are stale: WORKDIR then names data that
    exists.
    """
    stage_inputs.refresh(load_params())
    for name in run_cache.data_stages():
        if dvc.read_reasons(name):
            with run_stage(name, paths.EVENTS / f"{name}.jsonl") as process:
                lines = [line for line in process.lines() if line]
            if process.wait():
                raise StageFailed(
                    f"{name} failed on the working tree: {lines[-1] if lines else 'without a word'}"
                )


def _metric(request: Request) -> tuple[str, str]:
    """Stage and key of the score: ``--metric stage:key``, else the headline of the last stage."""
    plan = dvc.read_plan(to=request.to)
    if request.metric:
        stage, sign, key = request.metric.partition(":")
        if not sign or stage not in plan.nodes:
            choices, example = ", ".join(plan.nodes), "evaluate:finetuned.accuracy"
            raise ConfigError(
                f"--metric {request.metric}: expected STAGE:KEY with a stage of {choices}, for"
                f" example {example}"
            )
        return stage, key
    last = plan.order[-1]
    headline = plan.nodes[last].headline
    if not headline:
        raise ConfigError(
            f"{last} names no headline metric in dvc.yaml (meta: {{headline: …}}): say --metric"
            f" {last}:KEY"
        )
    return last, headline


def _check_settings(
    request: Request, data_stages: tuple[str, ...], root: Path, data: Mapping[str, str]
) -> None:
    _check_values(request)
    belongs = {
        key
        for commit in data.values()
        for name, entry in _entries(root, commit).items()
        if name in data_stages
        for key in entry.params
    }
    for factor in request.factors()[1:]:
        for key in belongs - {"seed"}:
            if factor.key == key or factor.key.startswith(f"{key}."):
                raise ConfigError(
                    f"--set {factor.key}: it makes the data, which a dataset version holds; set it,"
                    f" run {', '.join(data_stages)}, then `rootstock data tag NAME` and name both"
                    " versions in --data"
                )


def _check_values(request: Request) -> None:
    """Every value of every factor must make a valid params.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / paths.PARAMS.name
        for factor in request.factors()[1:]:
            for level in factor.levels:
                shutil.copy(paths.PARAMS, trial)
                try:
                    override([f"{factor.key}={canonical_json(level)}"], trial, check=check_choices)
                except ConfigError as error:
                    raise ConfigError(str(error).replace(str(trial), paths.PARAMS.name)) from None


def _locked(root: Path, commit: str, data_stages: tuple[str, ...]) -> dict[str, Any]:
    entries = _entries(root, commit)
    return {name: entries[name].outputs for name in data_stages if name in entries}


def _entries(root: Path, commit: str) -> dict[str, lockfile.LockEntry]:
    return lockfile.parse_lock(read_at(root, commit, "dvc.lock"))
