"""How much commoner the commonest class is than the rarest, among the labelled training images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.validate.audit import Answer, AuditSettings, Pool, Severity


class Settings(AuditSettings):
    severity: Severity = "warning"
    max_ratio: Annotated[float, Field(ge=1)] = 20.0


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """One answer on the ratio of the largest to the smallest class of the training split; it names
    the images of the smallest.
    """
    frame = pool.manifest.frame
    train = (
        pool.manifest.ok
        & (frame["split"] == "train").to_numpy(bool)
        & frame["label"].notna().to_numpy(bool)
    )
    counts = frame.loc[train, "label"].value_counts()
    expected = f"no class has over {settings.max_ratio:g} times as many training images as another"
    if len(counts) < 2:
        return [Answer(expected, True, "fewer than two classes have labelled training images")]
    ratio = counts.iloc[0] / counts.iloc[-1]
    found = (
        f"{counts.index[0]} has {counts.iloc[0]}, {counts.index[-1]} {counts.iloc[-1]} (ratio"
        f" {ratio:.1f})"
    )
    if ratio <= settings.max_ratio:
        return [Answer(expected, True, found)]
    rarest = pool.manifest.rows(train & (frame["label"] == counts.index[-1]).to_numpy(bool))
    return [
        Answer(
            expected, False, found, rarest, (f"one of {len(rarest)} of its class",) * len(rarest)
        )
    ]
