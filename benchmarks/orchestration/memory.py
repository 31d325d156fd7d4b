"""Memory of processes: what each wrote (its anonymous pages, shared ones in proportion), as the
median of a few looks.

Pages of files are left out: each process bears the less of them the more others have the same
library open, so that two servers "grow" by 30 MB when somebody else's servers on the machine end.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

Look = dict[str, float]
"""Name of a process → its MB."""


def resident(pids: Iterable[int]) -> float:
    """MB of these processes together; one that has ended counts nothing."""
    size = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            size += sum(
                int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss_Anon:")
            )
    return size


def median(looks: Sequence[Look]) -> Look:
    """Of each process."""
    return {name: statistics.median(look.get(name, 0.0) for look in looks) for name in looks[-1]}


def growth(before: Look, after: Look) -> float:
    """Percent, of all processes together."""
    return 100 * (sum(after.values()) / sum(before.values()) - 1)


def text(look: Look) -> str:
    """One line."""
    return ", ".join(f"{name} {size:.0f}" for name, size in look.items())
