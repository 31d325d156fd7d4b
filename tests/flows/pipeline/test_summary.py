"""The table a run ends with, for whatever an error has to say."""

from __future__ import annotations

from typing import cast

import pytest
from rich.console import Console

from flows.adapters.dvc.plan import Plan
from flows.adapters.mlflow.recorder import RunRecorder
from flows.adapters.mlflow.store import Store
from flows.pipeline import summary
from flows.pipeline.run import Outcome, PipelineRun
from flows.promotion.evidence import NO_COMPARISON, Verdict
from flows.promotion.promote import Promotion
from flows.registry.versions import ModelVersion


def test_an_error_that_looks_like_markup_is_shown_as_it_is() -> None:
    said = "folds[0] is [bold]; allowed: [cat, dog]; seen in [/tmp/x]"
    run = PipelineRun(Plan({}, {"a": ["forced"]}, ("a",)), cast(RunRecorder, None))
    run.outcomes["a"] = Outcome("a", "failed", message=said)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(summary.table(run))
    assert said in shown.get()


@pytest.mark.parametrize("line", ["ingest: 5 images", "ingest   5 images", "5 images"])
def test_a_stage_is_named_once_in_a_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    summary.console("ingest", line)
    assert capsys.readouterr().out == "ingest    │ 5 images\n"


def named(number: str) -> ModelVersion:
    return ModelVersion(cast(Store, None), "rootstock-classifier", number, {}, ())


def test_after_a_refusal_the_next_steps_are_about_the_model_that_was_made() -> None:
    worse = {"champion": Verdict(False, "-0.02", "0.01")}
    refused = "\n".join(
        summary.next_steps(Promotion(named("7"), named("5"), worse, False, "refused"))
    )
    assert "rootstock lineage rootstock-classifier@7" in refused
    assert "rootstock compare rootstock-classifier@7 rootstock-classifier@champion" in refused
    for champion, moved in ((named("5"), True), (named("7"), False)):
        serves = "\n".join(summary.next_steps(Promotion(named("7"), champion, {}, moved, "")))
        assert (
            "rootstock predict rootstock-classifier@champion IMAGE" in serves
            and "compare" not in serves
        )


def test_a_champion_for_other_images_is_told_how_to_be_passed_over() -> None:
    other = {"champion": Verdict(False, NO_COMPARISON, "0.01")}
    steps = summary.next_steps(Promotion(named("7"), named("5"), other, False, "refused"))
    assert any("rootstock promote --new-task --why TEXT" in step for step in steps)
