"""Plans in words: what ``auto`` stands for before anything runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.pipeline.planning import choices

ROOT = Path(__file__).parents[3]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own parameters, and nothing else."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingested(workspace: Path, size: int) -> None:
    (workspace / "metrics").mkdir(exist_ok=True)
    (workspace / "metrics/ingest.json").write_text(json.dumps({"store": {"size": size}}))


def test_before_ingest_nothing_is_promised(workspace: Path) -> None:
    assert choices() == [
        "budget and backbone are chosen by the size of the images, once they are ingested"
    ]


@pytest.mark.parametrize(
    ("size", "budget", "backbone"), [(16, "quick", "test_resnet"), (64, "standard", "ResNet-10-T")]
)
def test_budget_and_backbone_are_named(
    workspace: Path, size: int, budget: str, backbone: str
) -> None:
    ingested(workspace, size)
    told = "\n".join(choices())
    assert f"budget {budget}" in told and backbone in told and f"{size} px" in told


def test_supposed_parameters_count_and_a_named_backbone_is_not_explained(workspace: Path) -> None:
    ingested(workspace, 64)
    told = choices(("budget=thorough", "pretrain.backbone=resnet18"))
    assert [line.split(":")[0] for line in told] == ["budget thorough"]
