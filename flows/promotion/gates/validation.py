"""The data behind the candidate passed validation."""

from __future__ import annotations

from flows.adapters.mlflow import long_tags
from flows.adapters.mlflow.store import INPUTS, STAGE
from flows.promotion.evidence import Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """A failed suite stops the pipeline, so the validation of this very pool must have a finished
    run.
    """
    pools = {
        path: digest
        for step in evidence.chain.steps.values()
        for path, digest in step.outputs.items()
        if step.stage == "ingest"
    }
    validated = [
        step for step in evidence.chain.steps.values() if step.stage == "validate"
    ] or _search(evidence, pools)
    if validated:
        return Verdict(True, "passed", "passed")
    return Verdict(
        False, "unknown", "passed", reason="no finished validate run read this pool: rootstock run"
    )


def _search(evidence: Evidence, pools: dict[str, str]) -> list[object]:
    store = evidence.candidate.store
    found = store.client.search_runs(
        [store.experiment], f"tags.`{STAGE}` = 'validate' and attributes.status = 'FINISHED'"
    )
    return [
        run
        for run in found
        if any(digest in long_tags.text(run.data.tags, INPUTS) for digest in pools.values())
    ]
