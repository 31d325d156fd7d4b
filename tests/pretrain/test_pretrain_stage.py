import csv
import json

import pytest

from stages.core import paths
from stages.core.errors import DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.models.artifact import load_encoder
from stages.pretrain.__main__ import main
from tests.pretrain.pretraining import quick
from tests.support.transfer import digest, run_stage, write_project


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(count=160)
    return tmp_path


OUTPUTS = (paths.PRETRAINED, paths.CONTROL, paths.REPORTS / "pretrain", paths.METRICS)


def test_the_stage_leaves_two_encoders_a_curve_and_metrics_and_does_it_again(project):
    events = run_stage(main, quick())
    first = digest(*OUTPUTS)
    store = PixelStore.open()
    for directory, method in ((paths.PRETRAINED, "simclr"), (paths.CONTROL, "instance")):
        encoder = load_encoder(directory)
        assert encoder.config["method"] == method
        assert encoder.encode(store.gather([0, 1])).shape == (2, encoder.num_features)
    metrics = json.loads(paths.metrics("pretrain").read_text())
    assert metrics["method"] == "simclr"
    assert metrics["control"]["method"] == "instance"
    assert 0 <= metrics["knn"] <= 1
    assert metrics["raw_pixels"]["knn"] > 0.3
    rows = list(csv.DictReader((paths.reports("pretrain") / "curve.csv").open()))
    assert {row["run"] for row in rows} == {"pretrained", "control"}
    assert sum(row["knn"] != "" for row in rows) == 4
    shares = [
        event["values"]
        for event in events
        if event["kind"] == "metrics" and "pretrained.share.probe" in event["values"]
    ]
    assert len(shares) == 1
    assert {"bf16_in_hardware", "precision", "threads"} <= next(
        event for event in events if event["kind"] == "tags"
    )["values"].keys()
    assert (paths.reports("pretrain") / "embedding.png").stat().st_size > 5000
    assert not list(paths.RESUME.glob("*"))
    run_stage(main, quick())
    assert digest(*OUTPUTS) == first


def test_without_a_control_its_place_says_so(project):
    run_stage(main, quick(pretrain__control=None))
    assert json.loads((paths.CONTROL / "config.json").read_text())["kind"] == "none"
    assert json.loads(paths.metrics("pretrain").read_text())["control"] is None


def test_a_shard_that_is_missing_or_short_is_one_clear_error(project):
    shard = next(paths.POOL_PIXELS.glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"bytes instead of"):
        run_stage(main, quick())
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        run_stage(main, quick())
