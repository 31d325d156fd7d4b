"""What the commands around a run need: a plan that runs nothing, how long stages took, promotion of the workspace as it is."""

from __future__ import annotations

from flows import dvc, encoders, promotion, warm
from flows.dvc import Plan
from flows.execution import TIMES, provenance
from flows.promotion import Promotion
from flows.recording import import_run
from flows.staleness import NEVER
from flows.tracking import Store
from stages.core import sources
from stages.core.errors import ConfigError
from stages.core.io import read_json
from stages.core.params import load_params


def dry_plan(force: tuple[str, ...] = (), to: str | None = None) -> Plan:
    """The plan for the sources as they are now."""
    params = load_params()
    sources.write_fingerprint(params)
    encoders.lay_out(params)
    return warm.call(dvc.read_plan, force, to)


def last_seconds(plan: Plan) -> dict[str, float]:
    """How long each stage that would run took when it last ran here."""
    known = read_json(TIMES) if TIMES.is_file() else {}
    return {name: float(known[name]) for name in plan.order if name in known}


def promote_workspace(dry_run: bool, why: str, approved_by: str = "") -> Promotion:
    """Promote what ``dvc.lock`` holds, without running a stage.

    Raises:
        ConfigError: a stage is stale, so the lock does not describe the workspace.
    """
    params = load_params()
    plan = dry_plan()
    stale = [name for name in plan.order if plan.stale(name)]
    if stale and all(plan.reasons[name] == [NEVER] for name in stale):
        raise ConfigError("no model has been made here yet: rootstock run makes one and promotes it")
    if stale:
        raise ConfigError(
            f"{', '.join(stale)} changed since the model was made: rootstock run brings it up to date and promotes it"
        )
    store = Store.open()
    return promotion.promote(
        store, params.promote, print, made_by=link(store, plan), dry_run=dry_run, why=why, approved_by=approved_by
    )


def link(store: Store, plan: Plan) -> dict[str, str]:
    """Output path → the run that made it, for every stage of a fresh plan; runs this store lacks are rebuilt."""
    entries = dvc.read_lock()
    made_by: dict[str, str] = {}
    for name in plan.order:
        entry = entries[name]
        known = store.find(entry.identity)
        run = known.info.run_id if known else import_run(store, entry, None, made_by, provenance())
        made_by.update(dict.fromkeys(entry.outputs, run))
    return made_by
