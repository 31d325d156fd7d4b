"""Plan: the stages of ``dvc.yaml`` in running order, and why each stale one is stale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flows.adapters.dvc import staleness
from flows.adapters.dvc.lockfile import LOADER
from flows.adapters.dvc.repository import repair_locks, repository
from stages.core.errors import ConfigError, nearest

RESTORED = "is cached - skipping run"
UNCHANGED = "didn't change, skipping"
BUSY = "it is being blocked by"


@dataclass(frozen=True)
class Node:
    """One stage of ``dvc.yaml``."""

    name: str
    description: str
    headline: str | None
    gpus: int
    upstream: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The stages in running order, and for each stale one what made it so."""

    nodes: dict[str, Node]
    reasons: dict[str, list[str]]
    order: tuple[str, ...] = field(default=())

    def stale(self, name: str) -> bool:
        """Whether the stage itself has changed; a stage below a stale one may turn out
        unchanged.
        """
        return bool(self.reasons[name])

    def waits_for(self, name: str) -> list[str]:
        """Stale stages above this one."""
        return [above for above in self.above(name) if self.stale(above)]

    def above(self, name: str) -> list[str]:
        """Every stage this one is made from, in running order."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            new = set(self.nodes[waiting.pop()].upstream) - found
            found |= new
            waiting += new
        return [stage for stage in self.order if stage in found]


def read_plan(
    force: tuple[str, ...] = (),
    to: str | None = None,
    instead: Mapping[str, str] | None = None,
    put_back: bool = False,
) -> Plan:
    """Read DVC's graph and ask every stage whether it has changed. Nothing is written.

    ``instead`` names, for dependencies by their path, the file to look at in their place. With
    ``put_back`` outputs that the workspace holds and the cache has lost are put into the cache
    again.

    Raises:
        ConfigError: ``dvc.yaml`` cannot be read, or ``to`` or ``force`` name no stage.
    """
    import networkx

    with repository() as repo:
        repair_locks(repo)
        graph = repo.index.graph
        order = list(
            networkx.lexicographical_topological_sort(
                graph.reverse(), key=lambda stage: stage.addressing
            )
        )
        nodes = {stage.addressing: _node(stage, graph) for stage in order}
        for name in (*force, *([to] if to else [])):
            if name not in nodes:
                raise ConfigError(
                    f"there is no stage {name!r} in dvc.yaml; choose from {', '.join(nodes)}"
                )
        plan = Plan(nodes, {}, tuple(nodes))
        if to:
            wanted = {*plan.above(to), to}
            plan = Plan(
                {name: node for name, node in nodes.items() if name in wanted},
                {},
                tuple(n for n in nodes if n in wanted),
            )
        stages = {stage.addressing: stage for stage in order}
        for dependency in (dependency for stage in order for dependency in stage.deps):
            dependency.fs_path = (instead or {}).get(dependency.def_path, dependency.fs_path)
        for out in (
            out
            for name in plan.order
            for out in stages[name].outs
            if put_back and name not in force
        ):
            if staleness.only_here(out):
                out.commit()
        reasons = {
            name: ["forced"] if name in force else staleness.reasons(stages[name])
            for name in plan.order
        }
        return Plan(plan.nodes, reasons, plan.order)


def check_names(names: Iterable[str], path: Path = Path("dvc.yaml")) -> None:
    """Refuse a stage that ``dvc.yaml`` does not name, without opening the repository.

    Raises:
        ConfigError: the name does not exist, or the file cannot be read.
    """
    try:
        known = list(yaml.load(path.read_text(), LOADER).get("stages", {}))
    except (yaml.YAMLError, AttributeError):
        raise ConfigError(
            f"{path.resolve()} is not valid: expected a mapping with stages"
        ) from None
    for name in names:
        if name.partition("@")[0] not in known:
            raise ConfigError(
                f"there is no stage {name!r} in dvc.yaml; {nearest(name, known)}choose from"
                f" {', '.join(known)}"
            )


def read_reasons(name: str) -> list[str]:
    """Why one stage is stale now; empty when it is fresh."""
    with repository() as repo:
        for stage in repo.index.stages:
            if stage.addressing == name:
                return staleness.reasons(stage)
    raise ConfigError(f"there is no stage {name!r} in dvc.yaml")


def _node(stage: Any, graph: Any) -> Node:
    meta = stage.meta or {}
    return Node(
        name=stage.addressing,
        description=stage.desc or "",
        headline=meta.get("headline"),
        gpus=int(meta.get("resources", {}).get("gpu", 0)),
        upstream=tuple(sorted(above.addressing for above in graph.successors(stage))),
        outputs=tuple(out.def_path for out in stage.outs),
    )
