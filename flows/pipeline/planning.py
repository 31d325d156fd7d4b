"""What the commands around a run need: a plan that runs nothing, how long stages took, promotion of
the workspace as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.adapters.dvc import client, lockfile
from flows.adapters.dvc import plan as dvc
from flows.adapters.dvc.plan import Plan
from flows.adapters.dvc.staleness import NEVER
from flows.adapters.mlflow.stage_run import import_run
from flows.adapters.mlflow.store import Store
from flows.pipeline.preflight import check_choices
from flows.pipeline.run import known_seconds
from flows.pipeline.startup import current_plan
from flows.project import params_file
from flows.project.provenance import provenance
from flows.promotion import promote as promotion
from flows.promotion.promote import Promotion, PromotionOptions
from flows.registry import stage_inputs
from stages.core import paths
from stages.core.budget import resolve_budget
from stages.core.errors import ConfigError
from stages.core.image.backbone_choice import choose_backbone
from stages.core.io import read_json, write_text
from stages.core.params import load_params


def dry_plan(
    force: tuple[str, ...] = (), to: str | None = None, assignments: Sequence[str] = ()
) -> Plan:
    """The plan for the sources as they are now, and for the parameters as ``assignments``
    (KEY=VALUE) would make them.

    Raises:
        ConfigError: a parameter is refused, or the graph cannot be read.
    """
    if not assignments:
        return current_plan(load_params(), force, to)
    paths.STATE.mkdir(exist_ok=True)
    with TemporaryDirectory(
        prefix="plan.", dir=paths.STATE
    ) as folder:  # a run that goes on here reads its own files
        place = Path(folder).resolve()
        text, params = params_file.changed(assignments, check=check_choices)
        write_text(place / paths.PARAMS.name, text)
        instead = {str(paths.PARAMS): str(place / paths.PARAMS.name)}
        instead |= stage_inputs.refresh(params, place)
        return client.call(dvc.read_plan, force, to, instead)


def last_seconds(plan: Plan) -> dict[str, float]:
    """How long each stage that would run took when it last ran here."""
    known = known_seconds()
    return {name: float(known[name]) for name in plan.order if name in known}


def choices(assignments: Sequence[str] = ()) -> list[str]:
    """Return what ``auto`` stands for in the parameters that decide how long a run takes."""
    params = params_file.changed(assignments)[1] if assignments else load_params()
    metrics = paths.metrics("ingest")
    if not metrics.is_file():
        return ["budget and backbone are chosen by the size of the images, once they are ingested"]
    size = int(read_json(metrics)["store"]["size"])
    budget = resolve_budget(params.budget, size)
    lines = [
        f"budget {budget.name}: about {budget.minutes} minutes on two cores for 2,000 images of"
        " 96 px"
    ]
    if params.pretrain.backbone == "auto" and params.pretrain.start == "random":
        lines.append(f"backbone {choose_backbone(size).why}")
    return lines


def promote_workspace(wish: PromotionOptions) -> Promotion:
    """Promote what ``dvc.lock`` holds, without running a stage.

    Raises:
        ConfigError: a stage is stale, so the lock does not describe the workspace.
    """
    params = load_params()
    plan = dry_plan()
    stale = [name for name in plan.order if plan.stale(name)]
    if stale and all(plan.reasons[name] == [NEVER] for name in stale):
        raise ConfigError(
            "no model has been made here yet: rootstock run makes one and promotes it"
        )
    if stale:
        raise ConfigError(
            f"{', '.join(stale)} changed since the model was made: rootstock run brings it up to"
            " date and promotes it"
        )
    store = Store.open()
    return promotion.promote(store, params.promote, print, link(store, plan), wish)


def link(store: Store, plan: Plan) -> dict[str, str]:
    """Output path → the run that made it, for every stage of a fresh plan; runs this store lacks
    are rebuilt.
    """
    entries = lockfile.read_lock()
    made_by: dict[str, str] = {}
    for name in plan.order:
        entry = entries[name]
        known = store.find(entry.identity)
        run = known.info.run_id if known else import_run(store, entry, None, made_by, provenance())
        made_by.update(dict.fromkeys(entry.outputs, run))
    return made_by
