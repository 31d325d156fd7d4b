"""Page of benchmarks: ``python -m benchmarks.page`` writes docs/benchmarks.md from
``benchmarks/results/*.json``.
"""

from __future__ import annotations

from typing import Any

from benchmarks.results import RESULTS, ROOT
from stages.core.io import read_json, write_text

PAGE = ROOT / "docs" / "benchmarks.md"
ORDER = ("main_job", "data", "audits", "curation", "training", "orchestration", "registry")
HEAD = """# Benchmarks

Written by `python -m benchmarks.page` from `benchmarks/results/*.json`. The machines are shared and
noisy, so ratios measured side by side count; a figure that misses its target stays here as it is.
How they were measured, and what was tried: [notes on the benchmarks](notes/benchmarks.md).
Strangers' folders have a page of their own: [strangers](strangers.md).
"""
COLUMNS = ("metric", "command", "target", "result", "machine", "date")


def main() -> None:
    """Write the page."""
    write_text(PAGE, page())
    print(f"{PAGE.relative_to(ROOT)} written")


def page() -> str:
    """Return the page in Markdown, sections of :data:`ORDER` first."""
    found = {path.stem: read_json(path) for path in sorted(RESULTS.glob("*.json"))}
    named = [name for name in (*ORDER, *sorted(set(found) - set(ORDER))) if name in found]
    sections = [section(found[name]) for name in named if "title" in found[name]]
    return "\n".join([HEAD, *sections])


def section(results: dict[str, Any]) -> str:
    """Return one section: a table of its figures."""
    lines = [f"## {results['title']}", "", f"| {' | '.join(COLUMNS)} |", "|---" * 6 + "|"]
    lines += [f"| {' | '.join(row[key] for key in COLUMNS)} |" for row in results["rows"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
