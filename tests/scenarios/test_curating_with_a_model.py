"""A model that one run registered is the encoder the next run curates with."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.support.checkout import Project

ENCODER = "registry:rootstock-encoder@frozen-best"


@pytest.mark.slow
def test_the_registered_encoder_curates_the_next_run(finished: Project, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "again", symlinks=True)
    project = Project(tmp_path / "again")
    steps = "curate.steps=[{pseudo_classes: {classes: 10}}, budget]"
    project.rootstock(
        "run",
        "--to",
        "curate",
        "--set",
        f"curate.encoder={ENCODER}",
        "--set",
        steps,
        "--set",
        "curate.budget=0.8",
    )
    laid_out = json.loads((project.root / ".rootstock/encoder.json").read_text())
    assert laid_out["encoder"] == ENCODER
    assert (project.root / laid_out["folder"] / "weights.safetensors").is_file()
    frame = pd.read_parquet(project.root / "data/curated/manifest.parquet")
    assert frame["cluster"].nunique() == 10
    assert set(frame.loc[~frame["keep"], "reason"]) == {"budget: not drawn"}
    planned = [line.split()[:2] for line in project.rootstock("plan").splitlines()]
    assert ["curate", "run"] not in planned and ["augment", "run"] in planned
