"""Where the cells come from: a fixed list, or Optuna, which looks at what came of the last ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flows.experiment.design import Cell, Factor, cells_of
from flows.experiment.spec import Request
from flows.experiment.state import CellResult
from stages.core.errors import ConfigError

AT_ONCE = 4
"""Trials that live side by side, at least."""


class Search(Protocol):
    """Hands out cells, round by round."""

    def propose(self, results: Mapping[str, CellResult]) -> Sequence[Cell]:
        """The next round, given the results so far; empty when there is no more to do."""


class Fixed:
    """All cells at once."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells

    def propose(self, results: Mapping[str, CellResult]) -> Sequence[Cell]:
        """Everything, then nothing."""
        cells, self._cells = self._cells, ()
        return cells


class Adaptive:
    """Optuna's tree-structured Parzen estimator over the factors, with pruning between seeds.

    "Algorithms for Hyper-Parameter Optimization" (2011). A trial is a configuration; its seeds are
    its rungs: the mean over the seeds done so far is its intermediate value, and a trial worse than
    the median of the others at the same seed is not given further ones. Draws depend on the results
    alone, so a resumed experiment with as many jobs asks for the same cells.
    """

    def __init__(
        self,
        factors: Sequence[Factor],
        trials: int,
        seeds: Sequence[int],
        at_once: int,
        lower_is_better: bool,
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise ConfigError(
                "--optuna needs the package optuna: make setup installs it, or pip install"
                " 'rootstock[sweep]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._pruned = optuna.trial.TrialState.PRUNED
        self._failed = optuna.trial.TrialState.FAIL
        sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=max(4, min(10, trials // 3)))
        self._study = optuna.create_study(
            direction="minimize" if lower_is_better else "maximize",
            sampler=sampler,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        )
        self._factors, self._left, self._seeds, self._at_once = factors, trials, seeds, at_once
        self._active: list[tuple[Any, list[Cell]]] = []
        self.pruned: list[Cell] = []

    def propose(self, results: Mapping[str, CellResult]) -> Sequence[Cell]:
        """The next seed of every trial that lives, and new trials for those that ended."""
        while True:
            self._active = [entry for entry in self._active if self._lives(*entry, results)]
            while len(self._active) < self._at_once and self._left:
                trial = self._study.ask()
                choice = {factor.key: self._suggest(trial, factor) for factor in self._factors}
                self._active.append((trial, cells_of(choice, self._seeds)))
                self._left -= 1
            new = [
                next((cell for cell in cells if cell.identity not in results), None)
                for _, cells in self._active
            ]
            if any(new) or not self._active:
                return [cell for cell in new if cell]

    @staticmethod
    def _suggest(trial: Any, factor: Factor) -> Any:
        last = len(factor.levels) - 1
        if factor.ranged:
            return factor.levels[trial.suggest_int(factor.key, 0, last)]
        return factor.levels[trial.suggest_categorical(factor.key, list(range(last + 1)))]

    def _lives(self, trial: Any, cells: Sequence[Cell], results: Mapping[str, CellResult]) -> bool:
        """Tell the study what is new about a trial; False when it has ended."""
        done = list(
            itertools.takewhile(
                lambda result: result is not None, (results.get(cell.identity) for cell in cells)
            )
        )
        scores = [
            result.score for result in done if result is not None and result.score is not None
        ]
        if len(scores) < len(done):
            self._study.tell(trial, state=self._failed)
            return False
        for step in range(1, len(scores) + 1):
            if step not in self._reported(trial):
                trial.report(sum(scores[:step]) / step, step)
                if step < len(cells) and trial.should_prune():
                    self._study.tell(trial, state=self._pruned)
                    self.pruned += cells[step:]
                    return False
        if len(scores) == len(cells):
            self._study.tell(trial, sum(scores) / len(scores))
            return False
        return True

    def _reported(self, trial: Any) -> set[int]:
        return set(self._study.trials[trial.number].intermediate_values)


def search(request: Request) -> Search:
    """What the request asks for."""
    if request.optuna:
        return Adaptive(
            request.factors(),
            request.optuna,
            request.seed_values(),
            max(request.jobs, AT_ONCE),
            request.lower_is_better,
        )
    return Fixed(request.cells())
