"""``rootstock lineage --html``: the chain as one page to click through, that needs nothing else and
asks no network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.lineage.trace import HASH, SOURCES, Chain, Step, depths, tree
from stages.core.io import write_text

if TYPE_CHECKING:
    from flows.lineage.verification import Check

TEMPLATE = Path(__file__).with_name("page.html")
VERSION, IMAGES = "version", "source images"
Facts = list[tuple[str, list[tuple[str, str]]]]


def write(chain: Chain, path: Path, checks: Sequence[Check] = ()) -> None:
    """Write the page; ``checks`` (of ``--verify``) colour what differs."""
    from jinja2 import Environment
    from markupsafe import Markup

    version = chain.version
    names = f" ({', '.join(version.aliases)})" if version.aliases else ""
    data = json.dumps(graph(chain, checks)).replace("<", "\\u003c")
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text())
    page = template.render(
        title=f"{version.name} version {version.number}{names}",
        subtitle=f"{len(chain.steps)} runs, weights {version.digest}",
        holes=chain.holes,
        text=tree(chain),
        data=Markup(data),
    )
    write_text(path, page)


def graph(chain: Chain, checks: Sequence[Check] = ()) -> dict[str, list[dict[str, Any]]]:
    """Boxes with their place (column, row) and facts, and the artifacts that lead from one to
    another.
    """
    depth_of = depths(chain)
    rows: dict[int, list[str]] = {}
    for run, depth in sorted(
        depth_of.items(), key=lambda item: (item[1], chain.steps[item[0]].stage)
    ):
        rows.setdefault(depth, []).append(run)
    deepest = max(rows, default=0)
    nodes = [_version(chain, checks)]
    edges = []
    for depth, runs in rows.items():
        for column, run in enumerate(runs):
            step = chain.steps[run]
            place = {"x": column - (len(runs) - 1) / 2, "y": deepest - depth + 1}
            nodes.append(
                {
                    **_node(step, "model" if _makes_model(step) else "data"),
                    **place,
                    "bad": _differs(f"{step.stage}:", checks),
                }
            )
            for made_by, label in _artifacts(step, chain):
                edges.append({"from": made_by, "to": run, "label": label})
    if chain.version.stage_run in chain.steps:
        edges.append(
            {
                "from": chain.version.stage_run,
                "to": VERSION,
                "label": f"weights {chain.version.digest}",
            }
        )
    if chain.evaluation:
        bad = _differs(f"{chain.evaluation.stage}:", checks)
        nodes.append({**_node(chain.evaluation, "check"), "x": -1, "y": 0, "bad": bad})
        edges.append({"from": chain.evaluation.run, "to": VERSION, "label": "evaluated by"})
    if chain.source:
        nodes.append(_sources(chain, deepest + 2, checks))
        edges += [
            {"from": IMAGES, "to": step.run, "label": SOURCES}
            for step in chain.steps.values()
            if SOURCES in step.inputs
        ]
    return {"nodes": nodes, "edges": edges}


def _artifacts(step: Step, chain: Chain) -> list[tuple[str, str]]:
    """Run → which of its outputs a step read."""
    found: dict[str, list[str]] = {}
    for path, run in step.parents.items():
        if run in chain.steps:
            found.setdefault(run, []).append(f"{path}  {step.inputs.get(path, '')}")
    return [(run, "\n".join(lines)) for run, lines in found.items()]


def _node(step: Step, kind: str) -> dict[str, Any]:
    note = f"{step.run[:HASH]}  {step.commit}{'  imported' if step.imported else ''}"
    numbers = {key: value for key, value in step.metrics.items() if not key.startswith("system.")}
    seconds = (
        {"seconds": f"{step.metrics['system.seconds']:.1f}"}
        if "system.seconds" in step.metrics
        else {}
    )
    code = {
        "commit": step.tags.get("git.commit", "unknown"),
        "changed since": step.tags.get("git.dirty", "unknown"),
        "packages": step.tags.get("requirements.sha256", "unknown"),
    }
    machine = {
        key.removeprefix("machine."): text
        for key, text in step.tags.items()
        if key.startswith("machine.")
    }
    where = machine | {
        key: step.tags[key]
        for key in ("device", "precision", "threads", "torch")
        if key in step.tags
    }
    run = {
        "run": step.run,
        "identity": step.tags.get("rootstock.identity", ""),
        "imported": "yes" if step.imported else "no",
    }
    sections = [
        ("Run", {**run, **seconds}),
        ("Made", step.outputs),
        (
            "From",
            {
                path: digest
                for path, digest in step.inputs.items()
                if not path.startswith("stages/")
            },
        ),
        ("Parameters", step.settings),
        (
            "Resolved by the stage",
            {key: text for key, text in step.params.items() if key.startswith("resolved.")},
        ),
        (
            "Code",
            {
                **code,
                **{
                    path: digest
                    for path, digest in step.inputs.items()
                    if path.startswith("stages/")
                },
            },
        ),
        ("Machine", where),
        ("Metrics", {key: f"{value:.6g}" for key, value in sorted(numbers.items())}),
    ]
    return {
        "id": step.run,
        "kind": kind,
        "title": step.stage,
        "note": note,
        "facts": _shown(sections),
    }


def _version(chain: Chain, checks: Sequence[Check]) -> dict[str, Any]:
    version = chain.version
    title = f"{version.name.removeprefix('rootstock-')} {version.number}"
    about = {
        "model": version.name,
        "version": version.number,
        "aliases": ", ".join(version.aliases),
        "digest": version.digest,
    }
    sections = [("Version", about), ("Tags", dict(sorted(version.tags.items())))]
    note = ", ".join(version.aliases) or version.digest[:HASH]
    bad = (
        bool(chain.holes) or _differs(f"{version.name} ", checks) or _differs("evaluation", checks)
    )
    return {
        "id": VERSION,
        "kind": VERSION,
        "title": title,
        "note": note,
        "facts": _shown(sections),
        "x": 0,
        "y": 0,
        "bad": bad,
    }


def _sources(chain: Chain, row: float, checks: Sequence[Check]) -> dict[str, Any]:
    facts = _shown([("Fingerprint", {"path": SOURCES, "hash": chain.source})])
    place = {"x": 0, "y": row, "bad": _differs(IMAGES, checks)}
    return {
        "id": IMAGES,
        "kind": "data",
        "title": IMAGES,
        "note": chain.source[:HASH],
        "facts": facts,
        **place,
    }


def _shown(sections: list[tuple[str, Any]]) -> Facts:
    return [
        (title, [(key, str(value)) for key, value in rows.items()])
        for title, rows in sections
        if rows
    ]


def _makes_model(step: Step) -> bool:
    return any(
        path.startswith("models/") and digest.endswith(".dir")
        for path, digest in step.outputs.items()
    )


def _differs(what: str, checks: Sequence[Check]) -> bool:
    return any(check.state == "differs" and check.what.startswith(what) for check in checks)
