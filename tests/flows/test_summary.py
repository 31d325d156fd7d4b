"""The table a run ends with, for whatever an error has to say."""

from __future__ import annotations

from typing import cast

from rich.console import Console

from flows import summary
from flows.dvc import Plan
from flows.execution import Outcome, PipelineRun
from flows.ledger import Ledger


def test_an_error_that_looks_like_markup_is_shown_as_it_is() -> None:
    said = "folds[0] is [bold]; allowed: [cat, dog]; seen in [/tmp/x]"
    run = PipelineRun(Plan({}, {"a": ["forced"]}, ("a",)), cast(Ledger, None))
    run.outcomes["a"] = Outcome("a", "failed", message=said)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(summary.table(run))
    assert said in shown.get()
