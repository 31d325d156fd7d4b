"""What a pipeline run leaves to read: lines on the console, a table in Prefect, the table at the
end.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from flows.adapters.dvc import lockfile, staleness
from flows.adapters.dvc.plan import Plan
from flows.adapters.dvc.staleness import NEVER
from flows.adapters.mlflow import database
from flows.pipeline.run import Outcome, PipelineRun
from flows.project import endpoints
from stages.core import paths
from stages.core.progress import clock

if TYPE_CHECKING:
    from rich.table import Table

    from flows.promotion.promote import Promotion

STYLES = {
    "ran": "green",
    "restored": "cyan",
    "cached": "dim",
    "failed": "bold red",
    "waiting": "dim",
}
PAGES = (paths.reports("evaluate") / "index.html", Path("reports/data_docs/index.html"))
_ONE_LINE_AT_A_TIME = threading.Lock()
_WIDTH = 9


def console(stage: str, line: str) -> None:
    """One line of one stage; lines of stages that run side by side do not tear. Its own name in it
    need not be said twice.
    """
    if line.startswith((f"{stage}: ", f"{stage}  ")):
        line = line.removeprefix(stage).lstrip(": ")
    with _ONE_LINE_AT_A_TIME:
        print(f"{stage:<{_WIDTH}} │ {line}", flush=True)


def publish(run: PipelineRun, promoted: Promotion | None) -> None:
    """The table, and where to look, as artifacts of the Prefect run, whose page draws the graph
    itself.
    """
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    rows = [_row(run.outcomes[name]) for name in run.plan.order]
    create_table_artifact(table=rows, key="stages", description="What became of every stage")
    create_markdown_artifact(
        markdown=summary(run, promoted),
        key="summary",
        description="The result, and links to its reports",
    )
    if promoted is not None:
        create_table_artifact(table=promoted.rows(), key="gates", description=promoted.verdict)


def summary(run: PipelineRun, promoted: Promotion | None) -> str:
    """The table of stages in markdown, each with a link to its run in MLflow, and links to the
    reports.
    """
    lines = ["| stage | | seconds | headline | MLflow |", "|---|---|---:|---|---|"]
    for name in run.plan.order:
        outcome = run.outcomes[name]
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else ""
        lines.append(
            f"| {name} | {outcome.state} | {seconds} | {outcome.headline} |"
            f" {_link(run, outcome.run)} |"
        )
    if promoted is not None:
        lines += ["", f"**{promoted.version.name}** {promoted.verdict}"]
    if run.closed:
        lines += ["", f"The whole run: {_link(run, run.closed.run)}"]
    pages = [page for page in PAGES if page.is_file()]
    return "\n".join([*lines, *[f"\n[{page}]({page.resolve().as_uri()})" for page in pages]]) + "\n"


def _link(run: PipelineRun, identity: str | None) -> str:
    """A run's address at the MLflow server; its bare id where the store is a file that nobody
    serves.
    """
    if not identity or run.closed is None:
        return identity or ""
    address = database.tracking_uri()
    if not address.startswith("http"):
        address = service.address if (service := endpoints.service("mlflow")) else ""
    page = f"{address}/#/experiments/{run.closed.experiment}/runs/{identity}"
    return f"[{identity[:8]}]({page})" if address else identity


def table(run: PipelineRun) -> Table:
    """The table ``rootstock run`` ends with."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "", "seconds", "headline"):
        shown.add_column(column, justify="right" if column == "seconds" else "left")
    for name in run.plan.order:
        outcome = run.outcomes[name]
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else ""
        extra = " (imported)" if outcome.message == "imported" else ""
        text = outcome.message if outcome.state in {"failed", "waiting"} else outcome.headline
        shown.add_row(
            name, f"[{STYLES[outcome.state]}]{outcome.state}[/]{extra}", seconds, escape(text)
        )
    return shown


def plan_json(lines: list[tuple[str, str, str]]) -> str:
    """Return the lines of a plan for other programs: ``stage``, ``state``, ``why``."""
    return json.dumps(
        [{"stage": name, "state": what, "why": why} for name, what, why in lines], indent=2
    )


def plan_lines(plan: Plan, last: dict[str, float]) -> list[tuple[str, str, str]]:
    """Stage, what would become of it, and why, with how long it took last time."""
    lines: list[tuple[str, str, str]] = []
    back = staleness.comes_back(plan.order, plan.reasons, lockfile.read_lock())
    for name in plan.order:
        if name in back:
            lines.append(
                (name, "restored", f"{'; '.join(plan.reasons[name])}: DVC's cache has it")
                if back[name]
                else (name, "cached", "")
            )
            continue
        took = f"took {clock(last[name])} last time" if name in last else ""
        if plan.reasons[name] == [NEVER] and name in last:
            lines.append(
                (
                    name,
                    "run",
                    "no entry in dvc.lock; restored from DVC's cache if the result is there",
                )
            )
        elif plan.stale(name):
            lines.append((name, "run", "; ".join(plan.reasons[name])))
        elif waiting := [above for above in plan.waits_for(name) if above not in back]:
            lines.append((name, "maybe", f"if what {', '.join(waiting)} makes differs"))
        else:
            lines.append((name, "cached", ""))
        if took and lines[-1][1] != "cached":
            lines[-1] = (*lines[-1][:2], f"{lines[-1][2]} ({took})")
    return lines


def next_steps(promoted: Promotion) -> list[str]:
    """Where to look after a run, and what to do where the champion was made for other images."""
    from flows.promotion.evidence import NO_COMPARISON
    from flows.registry.versions import FORGOTTEN

    name = promoted.version.name
    serves = promoted.moved or (
        promoted.champion is not None and promoted.champion.number == promoted.version.number
    )
    which = f"{name}@champion" if serves else f"{name}@{promoted.version.number}"
    steps = [
        "report     reports/evaluate/index.html",
        f"history    rootstock lineage {which}",
        f"ask it     rootstock predict {which} IMAGE",
    ]
    if not serves and promoted.champion is not None and promoted.champion.tags.get(FORGOTTEN):
        steps.append(
            f"forgotten  version {promoted.champion.number}, which stays champion, was trained on"
            " images forgotten since"
        )
    if any(verdict.value == NO_COMPARISON for verdict in promoted.verdicts.values()):
        steps.append(
            "new task?  rootstock promote --new-task --why TEXT makes it champion without a"
            " comparison"
        )
    elif promoted.champion is not None and not serves:
        steps.append(f"beside it  rootstock compare {which} {name}@champion")
    return steps


def _row(outcome: Outcome) -> dict[str, str]:
    return {
        "stage": outcome.stage,
        "state": outcome.state,
        "seconds": f"{outcome.seconds:.1f}",
        "headline": outcome.headline,
        "run": outcome.run or "",
        "message": outcome.message,
    }
