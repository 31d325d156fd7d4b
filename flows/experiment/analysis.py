"""From cells to conclusions: one table, the effects, the sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flows.experiment.design import DATA, Cell, show
from flows.experiment.effects import (
    DatasetVerdict,
    Estimate,
    Result,
    estimate,
    main_effect,
    seed_noise,
    varied,
    verdict,
)
from flows.experiment.spec import Spec
from flows.experiment.state import CellResult, ExperimentState
from flows.experiment.variance import variance_shares
from flows.promotion.evidence import FEW_SHARED


@dataclass(frozen=True)
class Analysis:
    """What an experiment found."""

    spec: Spec
    cells: Sequence[Cell]
    outcomes: Mapping[str, CellResult]
    results: Sequence[Result]
    shares: Mapping[str, float]
    effects: Mapping[str, Mapping[str, Estimate]]
    verdict: DatasetVerdict | None
    remarks: Sequence[str]

    @property
    def sentence(self) -> str:
        """The conclusion in a sentence or two."""
        if self.verdict:
            return " ".join([self.verdict.sentence, *self.remarks])
        if not self.results:
            return "No cell finished, so there is nothing to compare."
        best = max(
            self.configurations(),
            key=lambda row: -row[1].value if self.spec.lower_is_better else row[1].value,
        )
        name = ", ".join(f"{key} {show(value)}" for key, value in best[0].configuration.items())
        return " ".join(
            [
                f"The best configuration is {name}: {self.spec.metric} {text(best[1])}.",
                *self.remarks,
            ]
        )

    @property
    def failed(self) -> list[tuple[Cell, CellResult]]:
        """Cells that failed, with why."""
        found = [
            (cell, self.outcomes[cell.identity])
            for cell in self.cells
            if cell.identity in self.outcomes
        ]
        return [(cell, result) for cell, result in found if result.state == "failed"]

    def configurations(self) -> list[tuple[Result, Estimate]]:
        """One of the results of each configuration, with the mean over its seeds; best first."""
        noise, groups = seed_noise(self.results), dict[str, list[Result]]()
        for result in self.results:
            groups.setdefault(result.key, []).append(result)
        rows = [
            (group[0], estimate([result.score for result in group], noise))
            for group in groups.values()
        ]
        return sorted(rows, key=lambda row: row[1].value, reverse=not self.spec.lower_is_better)


def analyse(spec: Spec, board: ExperimentState) -> Analysis:
    """Read all results and draw the conclusions."""
    cells, outcomes = board.cells(), board.results()
    done = [
        cell
        for cell in cells
        if cell.identity in outcomes and outcomes[cell.identity].score is not None
    ]
    results = [
        Result(cell.configuration, cell.seed, float(outcomes[cell.identity].score or 0.0))
        for cell in done
    ]
    results, remarks = _on_shared_images(board, done, results, spec.metric)
    keys = varied(results)
    if len(spec.data) > 1 and seed_noise(results).freedom and seed_noise(results).deviation == 0:
        remarks.append("All seeds gave the same score, so seed noise counts as zero.")
    return Analysis(
        spec,
        cells,
        outcomes,
        results,
        variance_shares(results) if results else {},
        {key: main_effect(results, key) for key in dict.fromkeys([DATA, *keys])} if results else {},
        verdict(results, spec.metric, not spec.lower_is_better) if results else None,
        remarks,
    )


def _on_shared_images(
    board: ExperimentState, cells: Sequence[Cell], results: list[Result], metric: str
) -> tuple[list[Result], list[str]]:
    """Where dataset versions were tested on different images, score every cell on the images they
    share.

    A version with easier test images would otherwise look better. Done where the score is the
    accuracy of kept predictions.
    """
    import pandas as pd

    apart = []
    if len({cell.configuration[DATA] for cell in cells}) > 1:
        apart = [f"Careful: {metric} was measured on the images of each version, which may differ."]
    tables: dict[str, pd.DataFrame] = {}
    for cell, result in zip(cells, results, strict=True):
        path = board.predictions(cell.identity)
        if not path.is_file():
            return results, apart
        table = (
            pd.read_parquet(path, columns=["id", "label", "predicted"])
            .drop_duplicates("id")
            .set_index("id")
        )
        if not math.isclose(
            float((table.label == table.predicted).mean()), result.score, abs_tol=1e-3
        ):
            return results, apart  # the score is something else
        tables[cell.identity] = table
    tests = {frozenset(table.index) for table in tables.values()}
    if len(tests) < 2:
        return results, []
    shared = sorted(frozenset.intersection(*tests))
    most = max(map(len, tests))
    if len(shared) < FEW_SHARED:
        return results, [
            f"Careful: the versions share {len(shared)} test images, too few to compare on; each"
            " was tested on its own."
        ]
    scored = []
    for cell, result in zip(cells, results, strict=True):
        table = tables[cell.identity].loc[shared]
        scored.append(replace(result, score=float((table.label == table.predicted).mean())))
    return scored, [
        f"Scores are on the {len(shared):,} test images all versions share (of up to {most:,})."
    ]


def text(found: Estimate) -> str:
    """A mean with its interval."""
    if math.isinf(found.low):
        return f"{found.value:.4g}"
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"
