"""What gates look at: the candidate, the champion, and how both answered the same test images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.evaluation.predictions import Predictions, answers
from flows.lineage import trace as lineage
from flows.lineage.trace import Chain
from flows.lineage.verification import Check, verify
from flows.registry.versions import EMBEDDINGS, ModelVersion

APPROVED = "rootstock.approved_by"
NO_ANSWERS = "no predictions were logged for it: rootstock run --force evaluate"
NO_COMPARISON = "no comparison"
"""What a gate found where the champion was asked other images."""
FEW_SHARED = 30
"""Of fewer test images that two versions were both asked nothing is concluded."""


@dataclass(frozen=True)
class Verdict:
    """What a gate found. ``passed`` is None where there is nothing to compare with."""

    passed: bool | None
    value: str
    threshold: str = ""
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Evidence:
    """The candidate, the champion to compare it with (None for the first and for a new task), and
    the resamples that takes.
    """

    candidate: ModelVersion
    champion: ModelVersion | None
    resamples: int
    seed: int = 0
    new_task: bool = False

    @cached_property
    def chain(self) -> Chain:
        """What the candidate was made from."""
        return lineage.trace(self.candidate)

    @cached_property
    def checks(self) -> list[Check]:
        """Every artifact behind the candidate, hashed again."""
        return list(verify(self.chain))

    @cached_property
    def answers(self) -> Predictions | None:
        """The candidate's answers on the test images."""
        return answers(self.candidate)

    @cached_property
    def champions_answers(self) -> Predictions | None:
        """The champion's answers on the test images it was evaluated on."""
        return answers(self.champion) if self.champion else None

    @cached_property
    def pairs(self) -> Pairs | None:
        """Correctness of candidate and champion on the test images both were asked; None where
        those are too few.
        """
        ours, theirs = self.answers, self.champions_answers
        if ours is None or theirs is None:
            return None
        if ours.same_images(theirs):
            return Pairs(ours.correct, theirs.in_order_of(ours).correct, "")
        shared = ours.predictions().join(
            theirs.predictions()["predicted"].rename("champion"), how="inner"
        )
        if len(shared) < FEW_SHARED:
            return None
        ours_right, theirs_right = (
            np.asarray(shared[name] == shared["label"]) for name in ("predicted", "champion")
        )
        return Pairs(
            ours_right,
            theirs_right,
            f"on the {len(shared):,} of {len(ours.table):,} test images that both were asked",
        )

    @cached_property
    def champions_chain(self) -> Chain | None:
        """What the champion was made from."""
        return lineage.trace(self.champion) if self.champion else None

    def embeddings(self, version: ModelVersion) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
        """Image ids ``(N,)``, sorted, and the embeddings ``(N, D)`` the evaluation of a version
        kept.
        """
        import pandas as pd

        file = version.evaluation_file(EMBEDDINGS)
        if file is None:
            return None
        table = pd.read_parquet(file).drop_duplicates("id").sort_values("id")
        column = next(name for name in table.columns if name != "id")
        return np.asarray(table["id"].astype(str), dtype=object), np.stack(
            table[column].to_list()
        ).astype(np.float32)

    def no_answers(self, threshold: float) -> Verdict:
        """The verdict of a gate that needs predictions where none were kept."""
        return Verdict(False, "unknown", f"{threshold:.4g}", reason=NO_ANSWERS)

    def nothing_to_compare(self, threshold: str) -> Verdict:
        """The verdict of a gate that compares where there is no champion."""
        if self.new_task:
            return Verdict(
                None,
                "new task",
                threshold,
                reason="by --new-task: nothing to compare with the champion",
            )
        return Verdict(
            None, "first version", threshold, reason="there is no champion to compare with"
        )

    def no_comparison(self, threshold: str) -> Verdict:
        """The verdict of a gate that compares where the two were not asked the same."""
        if self.answers is None:
            reason = NO_ANSWERS
        elif self.champions_answers is None:
            reason = (
                "the champion's predictions are gone: rootstock promote --new-task --why TEXT"
                " leaves the comparison out"
            )
        else:
            reason = (
                f"the champion was asked fewer than {FEW_SHARED} of these test images: if they are"
                " another task than its own, rootstock promote --new-task --why TEXT"
            )
        return Verdict(False, NO_COMPARISON, threshold, reason=reason)


@dataclass(frozen=True)
class Pairs:
    """Whether candidate and champion were right, ``(N,)`` each, image by image, and which images
    these are if not all.
    """

    ours: NDArray[np.bool_]
    theirs: NDArray[np.bool_]
    note: str

    def reason(self, words: str = "") -> str:
        """What a gate says, and of which images."""
        return f"{words} {self.note}".strip()


def worst(correct: NDArray[np.bool_], parts: NDArray[Any], kind: str, threshold: float) -> Verdict:
    """The verdict on the class or group that does worst; images of none are left out."""
    from stages.core.metrics.intervals import wilson_interval

    shares = {
        name: correct[parts == name]
        for name in sorted({part for part in parts if part is not None})
    }
    name = min(shares, key=lambda part: float(shares[part].mean()))
    found = wilson_interval(int(shares[name].sum()), len(shares[name]))
    reason = f"{kind} {name}, {len(shares[name])} images"
    return Verdict(
        found.value >= threshold,
        f"{found.value:.4f}",
        f"{threshold:.4g}",
        f"{found.low:.4f} … {found.high:.4f}",
        reason,
    )
