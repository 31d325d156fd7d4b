"""Headlines of stages: one number each, and without labels the one that needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.adapters.dvc.plan import Node
from flows.pipeline.run import headline
from stages.core import paths
from stages.core.io import write_metrics


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({"knn": 0.91, "rankme": 50.0}, "knn 0.91"),
        ({"knn": None, "rankme": 50.123}, "rankme 50.12 (no labels, no knn)"),
        ({"rankme": 50.123}, "rankme 50.12 (no labels, no knn)"),
    ],
)
def test_a_stage_without_labels_shows_what_was_measured_instead(
    metrics: dict[str, Any], shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_metrics(paths.metrics("pretrain"), metrics)
    fields = dict.fromkeys(Node.__dataclass_fields__)
    node = Node(**{**fields, "name": "pretrain", "headline": "knn"})
    assert headline(node) == shown
