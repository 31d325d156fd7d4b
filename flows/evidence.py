"""What gates look at: the candidate, the champion, and how both answered the same test images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flows import lineage
from flows.lineage import Chain
from flows.versions import EMBEDDINGS, PREDICTIONS, Version

if TYPE_CHECKING:
    import pandas as pd

    from flows.verification import Check


APPROVED = "rootstock.approved_by"
NO_ANSWERS = "no predictions were logged for it: rootstock run --force evaluate"
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
    """The candidate, the champion to compare it with (None for the first and for a new task), and the resamples that takes."""

    candidate: Version
    champion: Version | None
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
        from flows.verification import verify

        return list(verify(self.chain))

    @cached_property
    def answers(self) -> Answers | None:
        """The candidate's answers on the test images."""
        return answers(self.candidate)

    @cached_property
    def champions_answers(self) -> Answers | None:
        """The champion's answers on the test images it was evaluated on."""
        return answers(self.champion) if self.champion else None

    @cached_property
    def pairs(self) -> Pairs | None:
        """Correctness of candidate and champion on the test images both were asked; None where those are too few."""
        ours, theirs = self.answers, self.champions_answers
        if ours is None or theirs is None:
            return None
        if ours.same_images(theirs):
            return Pairs(ours.correct, theirs.in_order_of(ours).correct, "")
        shared = ours.predictions().join(theirs.predictions()["predicted"].rename("champion"), how="inner")
        if len(shared) < FEW_SHARED:
            return None
        ours_right, theirs_right = (np.asarray(shared[name] == shared["label"]) for name in ("predicted", "champion"))
        return Pairs(ours_right, theirs_right, f"on the {len(shared):,} of {len(ours.table):,} test images that both were asked")

    @cached_property
    def champions_chain(self) -> Chain | None:
        """What the champion was made from."""
        return lineage.trace(self.champion) if self.champion else None

    def embeddings(self, version: Version) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
        """Image ids ``(N,)``, sorted, and the embeddings ``(N, D)`` the evaluation of a version kept."""
        import pandas as pd

        file = version.evaluation_file(EMBEDDINGS)
        if file is None:
            return None
        table = pd.read_parquet(file).drop_duplicates("id").sort_values("id")
        column = next(name for name in table.columns if name != "id")
        return np.asarray(table["id"].astype(str), dtype=object), np.stack(table[column].to_list()).astype(np.float32)

    def no_answers(self, threshold: float) -> Verdict:
        """The verdict of a gate that needs predictions where none were kept."""
        return Verdict(False, "unknown", f"{threshold:.4g}", reason=NO_ANSWERS)

    def nothing_to_compare(self, threshold: str) -> Verdict:
        """The verdict of a gate that compares where there is no champion."""
        if self.new_task:
            return Verdict(None, "new task", threshold, reason="by --new-task: nothing to compare with the champion")
        return Verdict(None, "first version", threshold, reason="there is no champion to compare with")

    def no_comparison(self, threshold: str) -> Verdict:
        """The verdict of a gate that compares where the two were not asked the same."""
        if self.answers is None:
            reason = NO_ANSWERS
        elif self.champions_answers is None:
            reason = "the champion's predictions are gone: rootstock promote --new-task --why TEXT leaves the comparison out"
        else:
            reason = (
                f"the champion was asked fewer than {FEW_SHARED} of these test images: if they are another task than its own, "
                "rootstock promote --new-task --why TEXT"
            )
        return Verdict(False, "no comparison", threshold, reason=reason)


@dataclass(frozen=True)
class Pairs:
    """Whether candidate and champion were right, ``(N,)`` each, image by image, and which images these are if not all."""

    ours: NDArray[np.bool_]
    theirs: NDArray[np.bool_]
    note: str

    def reason(self, words: str = "") -> str:
        """What a gate says, and of which images."""
        return f"{words} {self.note}".strip()


@dataclass(frozen=True)
class Answers:
    """One row per test image."""

    table: pd.DataFrame

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities ``(N, K)``, a column per class in sorted order."""
        return np.stack(self.table["probabilities"].to_list()).astype(np.float64)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, from whether the likeliest class is right: a class may occur in no test image."""
        from stages.core.statistics import calibration_error

        shares = self.probabilities
        return calibration_error(shares, np.where(self.correct, shares.argmax(axis=1), -1))

    @property
    def groups(self) -> NDArray[Any] | None:
        """The group of each image, ``(N,)``, None where it has none; None where the manifest names fewer than two."""
        found = self.table.get("group")
        if found is None or found.nunique() < 2:
            return None
        return np.array([name if isinstance(name, str) else None for name in found], dtype=object)

    @property
    def corrupted(self) -> NDArray[np.float64] | None:
        """Correctness ``(M, C)`` on each corrupted copy of the images that were corrupted; None where none was tried."""
        answers = self.table.filter(regex="^predicted_")
        tried = answers.notna().to_numpy(bool).all(axis=1)
        if not len(answers.columns) or not tried.any():
            return None
        return np.asarray(answers[tried].astype(str).to_numpy() == self.labels[tried, None], dtype=np.float64)

    def labels_of(self, ids: NDArray[Any]) -> NDArray[Any]:
        """The labels of these images, ``(N,)``."""
        known = dict(zip(self.table["id"].astype(str), self.labels, strict=True))
        return np.array([known[name] for name in ids], dtype=object)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right, ``(N,)``."""
        return np.asarray(self.table["predicted"].astype(str) == self.table["label"].astype(str))

    @property
    def labels(self) -> NDArray[Any]:
        """The true label of each image, ``(N,)``."""
        return np.asarray(self.table["label"].astype(str), dtype=object)

    def predictions(self) -> pd.DataFrame:
        """``label`` and ``predicted`` by image id, of equal images one."""
        return self.table[["id", "label", "predicted"]].astype(str).drop_duplicates("id").set_index("id")

    def same_images(self, other: Answers) -> bool:
        """Whether both were asked the same images with the same labels."""
        columns = ["id", "label"]
        first, second = (side.table[columns].astype(str).sort_values(columns).to_numpy() for side in (self, other))
        return first.shape == second.shape and bool((first == second).all())

    def in_order_of(self, other: Answers) -> Answers:
        """These answers in the other's order of images; equal images count as many times as they occur."""
        mine, theirs = (side.table["id"].astype(str).to_numpy() for side in (self, other))
        order = np.empty(len(mine), dtype=np.int64)
        order[np.argsort(theirs, kind="stable")] = np.argsort(mine, kind="stable")
        return Answers(self.table.iloc[order].reset_index(drop=True))


def answers(version: Version) -> Answers | None:
    """The answers logged by the evaluation of a version."""
    import pandas as pd

    file = version.evaluation_file(PREDICTIONS)
    return Answers(pd.read_parquet(file)) if file else None


def worst(correct: NDArray[np.bool_], parts: NDArray[Any], kind: str, threshold: float) -> Verdict:
    """The verdict on the class or group that does worst; images of none are left out."""
    from stages.core.statistics import wilson_interval

    shares = {name: correct[parts == name] for name in sorted({part for part in parts if part is not None})}
    name = min(shares, key=lambda part: float(shares[part].mean()))
    found = wilson_interval(int(shares[name].sum()), len(shares[name]))
    reason = f"{kind} {name}, {len(shares[name])} images"
    return Verdict(
        found.value >= threshold, f"{found.value:.4f}", f"{threshold:.4g}", f"{found.low:.4f} … {found.high:.4f}", reason
    )
