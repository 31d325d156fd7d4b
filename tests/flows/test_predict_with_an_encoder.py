"""``rootstock predict`` asked of an encoder: size, norm and nearest image of the pool, or the
vectors as CSV.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.registry import classifier
from flows.serving import predict as prediction
from stages.core.models.inference import ImageEncoder, given_images
from tests.support.images import class_folders, params_with, run_stage


class Served:
    """The registered encoder as MLflow loads it, without the store."""

    def __init__(self, folder: Path) -> None:
        self.encoder = ImageEncoder(folder)

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"features": self.encoder.features(given_images(table)).tolist()})


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool, and an encoder to ask."""
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "in")
    run_stage(
        "ingest",
        params_with(ingest={"source": f"folder:{source}", "store_size": 16, "channels": 1}),
    )
    model = Served(classifier(tmp_path / "model"))
    monkeypatch.setattr(prediction, "load", lambda version: model)
    monkeypatch.setattr(prediction.versions, "resolve", lambda store, reference: None)
    monkeypatch.setattr(prediction.Store, "open", lambda: None)
    return source / "0"


def test_a_vector_is_described_and_its_nearest_image_named(
    asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sorted(asked.iterdir())[0]
    assert prediction.predict_files("encoder@best", [file], None) == 0
    told = capsys.readouterr().out
    assert "vector of " in told and "norm " in told
    assert f"nearest folder:0/{file.name} (cosine 1.0000)" in told


def test_vectors_are_written_as_csv(asked: Path, tmp_path: Path) -> None:
    prediction.predict_files("encoder@best", [asked], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as table:
        rows: list[dict[str, Any]] = list(csv.DictReader(table))
    assert len(rows) == len(list(asked.iterdir()))
    assert np.isfinite(
        [float(rows[0][name]) for name in rows[0] if name.startswith("features.")]
    ).all()
