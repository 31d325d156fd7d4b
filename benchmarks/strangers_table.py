"""Table of strangers: ``python -m benchmarks.strangers_table`` writes docs/strangers.md from the
results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean
from typing import Any

from benchmarks.results import ROOT
from benchmarks.strangers import LABELS, RESULTS
from stages.core.io import read_json

PAGE = ROOT / "docs" / "strangers.md"
HEAD = """# Strangers' folders at defaults

Written by `python -m benchmarks.strangers_table` from `benchmarks/results/strangers.json`, which
`python -m benchmarks.strangers --data DIR --recipe SCRIPT` measures: every set goes through
`rootstock run` at defaults, beside a plain recipe that trains from scratch on the same labels and
is never tuned (the better of its two networks counts). Test accuracy in per cent; the worst set
comes first. Rows that are not there have not been measured.
"""


def main() -> None:
    """Write the page."""
    rows = read_json(RESULTS)["rows"]
    PAGE.write_text(HEAD + "\n" + table(rows) + "\n")
    print(f"{PAGE.relative_to(ROOT)} written")


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Return one line per set and budget in Markdown."""
    shipped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    plain: dict[tuple[str, int, str], float] = {}
    minutes: dict[tuple[str, int], float] = {}
    for row in rows:
        if row["model"] == "shipped":
            shipped[row["set"], row["budget"]].append(row)
        else:
            key = (row["set"], row["seed"], row["labels"])
            plain[key] = max(plain.get(key, 0.0), row["test"])
            if row["labels"] == "all":
                longest = max(minutes.get(key[:2], 0.0), row["seconds"] / 60)
                minutes[key[:2]] = longest
    lines = [
        _line(name, budget, found, plain, minutes) for (name, budget), found in shipped.items()
    ]
    lines.sort(key=lambda line: line[0])
    head = "| set | budget | seeds | " + " | ".join(f"{label}: ours, plain" for label in LABELS)
    head += " | kNN: encoder, pixels | shipped | minutes: ours, plain | machine, date |"
    rule = "|---|---|---:|" + "---|" * (len(LABELS) + 4)
    return "\n".join([head, rule, *(text for _, text in lines)])


def _line(
    name: str,
    budget: str,
    found: list[dict[str, Any]],
    plain: dict[tuple[str, int, str], float],
    minutes: dict[tuple[str, int], float],
) -> tuple[float, str]:
    cells, gaps = [], []
    for label in LABELS:
        ours = [row["ladder"].get(f"finetuned.picked.{label}") for row in found]
        theirs = [plain.get((name, row["seed"], label)) for row in found]
        both = [
            (a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None
        ]
        gaps += [a - b for a, b in both]
        shown = [f"{100 * mean(a for a in ours if a is not None):.1f}" if any(ours) else "–"]
        shown += [f"{100 * mean(b for _, b in both):.1f}" if both else "–"]
        cells.append(", ".join(shown))
    knn = [
        f"{100 * mean(row['ladder'][f'{model}.knn.all'] for row in found):.1f}"
        for model in ("pretrained", "pixels")
    ]
    spent = f"{mean(row['seconds'] for row in found) / 60:.0f}"
    known = [minutes[name, row["seed"]] for row in found if (name, row["seed"]) in minutes]
    times = f"{spent}, {mean(known):.1f}" if known else f"{spent}, –"
    picked = ", ".join(dict.fromkeys(row["picked"] for row in found))
    where = f"{found[-1]['machine']}, {found[-1]['date']}"
    text = f"| {name} | {budget} | {len(found)} | " + " | ".join(cells)
    text += f" | {', '.join(knn)} | {picked} | {times} | {where} |"
    return (min(gaps, default=0.0), text)


if __name__ == "__main__":
    main()
