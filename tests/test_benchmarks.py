"""Benchmarks: the page is what the results give, and figures replace earlier ones of their kind."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks import page, results

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_the_results_give() -> None:
    assert page.PAGE.read_text() == page.page(), "python -m benchmarks.page writes it"


def test_every_figure_says_where_it_comes_from() -> None:
    for path in sorted(results.RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        if "title" not in found:
            continue
        for row in found["rows"]:
            assert set(row) == set(page.COLUMNS), path.name
            assert row["metric"] and row["result"] and row["machine"] and row["date"], path.name
            assert "|" not in "".join(row.values()), f"{path.name}: a cell cannot hold a bar"


def test_a_figure_replaces_the_one_of_the_same_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.record("made", "speed", "`make it`", "2.0", target="1.5", title="Made")
    results.record("made", "memory", "`make it`", "3 MiB")
    results.record("made", "speed", "`make it`", "2.1")
    found = json.loads((tmp_path / "made.json").read_text())
    assert found["title"] == "Made"
    kept = {row["metric"]: (row["target"], row["result"]) for row in found["rows"]}
    assert kept == {"speed": ("1.5", "2.1"), "memory": ("", "3 MiB")}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda p: p.stem)
def test_a_benchmark_imports_no_test(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not [name for name in names if name.split(".")[0] == "tests"]
