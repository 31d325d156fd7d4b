"""The one adapter to DVC: what is stale and why. How a stage is run: :mod:`flows.pipeline.launch`."""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flows.adapters.dvc import staleness
from flows.adapters.dvc.lockfile import LOADER, ONE_AT_A_TIME
from flows.adapters.dvc.patches import drop_emptied, write_whole
from stages.core.errors import ConfigError
from stages.core.io import write_text
from stages.core.plugins import nearest

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
        """Whether the stage itself has changed; a stage below a stale one may turn out unchanged."""  # noqa: E501
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


@contextmanager
def repository() -> Iterator[Any]:
    """A freshly read repository, locked."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo, lock_repo

    write_whole()
    with ONE_AT_A_TIME:
        try:
            with Repo(".", _wait_for_lock=True) as repo, lock_repo(repo):
                drop_emptied()
                yield repo
        except NotDvcRepoError:
            raise ConfigError(f"{Path.cwd()} has no .dvc directory: run dvc init there") from None
        except DvcException as error:
            raise ConfigError(_one_line(error) + _advice(str(error))) from None


def _advice(said: str) -> str:
    """What to do about a lock file that DVC cannot read: after a merge, or where another program
    was killed while it wrote.
    """
    if "dvc.lock" not in said:
        return ""
    return (
        ": git checkout dvc.lock brings the committed one back; or rm dvc.lock, then DVC's cache"
        " brings the outputs back"
    )


def _mend_locks(repo: Any) -> None:
    """Take processes that ended without a word out of DVC's record of who reads and writes what.

    DVC itself takes them out one by one with a warning each, and gives up on a record that a killed
    writer left half-written.
    """
    from dvc.lock import make_lock

    record = Path(repo.tmp_dir) / "rwlock"
    if not record.is_file():
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with make_lock(f"{record}.lock", tmp_dir=repo.tmp_dir, hardlink_lock=hardlink, wait=True):
        entries = read_holders(record)
        alive = {
            "write": {
                path: holder for path, holder in entries.get("write", {}).items() if _alive(holder)
            },
            "read": {
                path: held
                for path, holders in entries.get("read", {}).items()
                if (held := list(filter(_alive, holders)))
            },
        }
        if alive != entries:
            write_text(record, json.dumps(alive))


def read_holders(record: Path) -> dict[str, Any]:
    """DVC's record of who holds what; empty where a killed writer damaged it."""
    try:
        entries: dict[str, Any] = json.loads(record.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return entries


def _alive(holder: Mapping[str, Any]) -> bool:
    return Path("/proc", str(holder["pid"])).exists()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


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
        _mend_locks(repo)
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
