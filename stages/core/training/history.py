"""The history of a training run: rows that any machine reproduces, and seconds that none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Row = dict[str, float | None]
"""Numbers by name, ``step`` among them; None for a number that was none."""


@dataclass
class History:
    """What a run tells afterwards: rows that any machine reproduces, and seconds that none does."""

    rows: list[Row] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    stopped: str = ""
    """Why the run ended before its last step."""
    seconds: dict[str, float] = field(
        default_factory=lambda: {"data": 0.0, "compute": 0.0, "probe": 0.0, "checkpoint": 0.0}
    )

    def table(self, columns: Sequence[str]) -> list[list[str]]:
        """The rows as text, six significant digits; a cell is empty where no number was measured at
        that step.
        """
        return [[_text(row, column) for column in columns] for row in self.rows]


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    return str(int(value)) if column == "step" else f"{value:.6g}"
