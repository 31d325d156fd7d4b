"""``python -m benchmarks.orchestration [ROW…] [--runs N]`` prints the table that docs/benchmarks.md
shows.

Every row builds a small project in a temporary directory; where two ways of doing the same work are
compared, they go side by side in one run, since the machine is never quiet. Needs nothing but the
project's own environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from benchmarks.orchestration import cells, endurance, overhead, plan, scheduled, side_by_side
from benchmarks.orchestration.project import Row, served
from benchmarks.results import record

ROWS = ("overhead", "plan", "side_by_side", "cells", "endurance", "scheduled")
OWN_SERVERS = {"scheduled"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all"
    )
    parser.add_argument(
        "--runs", type=int, default=200, help="of endurance and scheduled; default: 200"
    )
    given = parser.parse_args()
    if unknown := sorted(set(given.rows) - set(ROWS)):
        parser.error(f"there is no row {unknown[0]!r}; choose from {', '.join(ROWS)}")
    measures: dict[str, Callable[[], Row]] = {
        "overhead": overhead.measure,
        "plan": plan.measure,
        "side_by_side": side_by_side.measure,
        "cells": cells.measure,
        "endurance": partial(endurance.measure, given.runs),
        "scheduled": partial(scheduled.measure, given.runs),
    }
    print("| what | at most | measured |\n|---|---|---|", flush=True)
    for name in given.rows or ROWS:
        with nullcontext() if name in OWN_SERVERS else served():
            what, target, measured = measures[name]()
        print(f"| {what} | {target} | {measured} |", flush=True)
        record(
            "orchestration", what, f"`python -m benchmarks.orchestration {name}`", measured, target
        )


if __name__ == "__main__":
    main()
