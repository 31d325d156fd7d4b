"""Families: the kinds of plugins there are, and which members a configuration uses.

A :class:`Family` is a folder of modules that all define the same things: objectives, operators,
gates and so on. :data:`FAMILIES` is what the preflight check, ``rootstock methods``, the
dependencies of the stages and the conformance tests in tests/families/ read. No stage imports this
module, so a new family makes nothing stale; reading names imports no member.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from stages.core import plugins
from stages.core.plugins import ROOT
from stages.core.starts import NO_METHOD

if TYPE_CHECKING:
    from stages.core.params import Params


@dataclass(frozen=True)
class Member:
    """What a member's source says of it, read without importing it."""

    name: str
    purpose: str
    """The paper, or the first paragraph of the docstring."""
    settings: dict[str, str]
    """Setting → default, as written."""


@dataclass(frozen=True)
class Family:
    """One kind of plugin: a folder of modules that all define the same things."""

    title: str
    key: str
    """The parameter that names members."""
    package: str
    needs: tuple[str, ...]
    """What every member module defines; ``@method`` stands for one decorated class."""
    stages: tuple[str, ...] = ()
    """The DVC stages that load its members."""
    used: Callable[[Params], Iterable[str]] = lambda params: ()
    """The members that a configuration names."""

    @property
    def folder(self) -> Path:
        """Where its members are, relative to the project root."""
        return Path(*self.package.split("."))

    def names(self) -> list[str]:
        """Return the names of all members, sorted."""
        return plugins.names(self.package)

    def check(self, name: str, key: str | None = None) -> None:
        """Refuse a name that is no member's; the message names the nearest one."""
        plugins.check(self.package, name, key or self.key)

    def load(self, name: str) -> ModuleType:
        """Import a member."""
        return plugins.load(self.package, name)

    def describe(self, name: str) -> Member:
        """Read what the source of a member says of it."""
        tree = ast.parse((ROOT / self.folder / f"{name}.py").read_text())
        purpose = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
        settings: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == "Settings":
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and field.value is not None:
                        settings[ast.unparse(field.target)] = ast.unparse(field.value)
            for keyword in node.keywords if isinstance(node, ast.Call) else []:
                if keyword.arg == "paper" and isinstance(keyword.value, ast.Constant):
                    purpose = str(keyword.value.value)
        return Member(name, purpose, settings)


def _listed(entries: Iterable[str | Mapping[str, Any]]) -> list[str]:
    """``[a, {b: {…}}]`` → ``[a, b]``."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _readers(params: Params) -> list[str]:
    source = params.ingest.source
    given = [source] if isinstance(source, str) else [entry.from_ for entry in source]
    return [text.partition(":")[0] for text in given]


def _objectives(params: Params) -> list[str]:
    control = params.pretrain.control
    if control == "auto":
        control = "instance"
    named = [params.pretrain.method, *([control] if control else [])]
    return [name for name in named if name != NO_METHOD]


def _policies(params: Params) -> Iterable[str]:
    policy = params.augment.policy
    return ("fitted", "glyphs") if policy == "auto" else (policy,)


def _encoders(params: Params) -> list[str]:
    kind = params.curate.encoder.partition(":")[0]
    return [kind if kind in plugins.names("stages.curate.encoders") else "timm"]


FAMILIES = (
    Family(
        "readers",
        "ingest.source",
        "stages.ingest.readers",
        ("entries", "load"),
        ("ingest",),
        _readers,
    ),
    Family(
        "audits",
        "validate.audits",
        "stages.validate.audits",
        ("Settings", "audit"),
        ("validate",),
        lambda params: _listed(params.validate_.audits),
    ),
    Family(
        "curation operators",
        "curate.steps",
        "stages.curate.operators",
        ("Settings", "apply"),
        ("curate",),
        lambda params: _listed(params.curate.steps),
    ),
    Family(
        "encoders",
        "curate.encoder",
        "stages.curate.encoders",
        ("VERSION", "identity", "prepare"),
        ("curate",),
        _encoders,
    ),
    Family(
        "view policies",
        "augment.policy",
        "stages.augment.policies",
        ("CHANNELS", "policy"),
        ("augment",),
        _policies,
    ),
    Family("view operations", "op", "stages.core.image.views.ops", ("Settings", "sample", "apply")),
    Family("patch masks", "mask", "stages.core.image.views.masks", ("sample",)),
    Family(
        "objectives",
        "pretrain.method",
        "stages.pretrain.methods",
        ("@method",),
        ("pretrain",),
        _objectives,
    ),
    Family(
        "distillation methods",
        "distill.method",
        "stages.distill.methods",
        ("Settings", "Method"),
        ("distill",),
        lambda params: (params.distill.method,),
    ),
    Family(
        "transfer methods",
        "finetune.candidates",
        "stages.core.transfer.methods",
        ("ENCODER", "fit"),
        ("finetune", "evaluate"),
        lambda params: params.finetune.candidates,
    ),
    Family(
        "protocols",
        "evaluate.protocols",
        "stages.evaluate.protocols",
        ("TITLE", "row"),
        ("evaluate",),
        lambda params: params.evaluate.protocols,
    ),
    Family(
        "metrics",
        "promote.gates.metric",
        "stages.core.metrics.classification",
        ("score",),
    ),
    Family(
        "gates",
        "promote.gates",
        "flows.promotion.gates",
        ("check",),
        used=lambda params: list(params.promote.gates),
    ),
)


def family(key: str) -> Family:
    """Return the family whose members a parameter names."""
    return next(one for one in FAMILIES if one.key == key)
