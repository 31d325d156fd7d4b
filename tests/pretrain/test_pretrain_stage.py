import csv
import json

import pytest

from stages.core import paths
from stages.core.budget import BUDGETS, operations
from stages.core.data.manifest import Manifest
from stages.core.errors import DataError
from stages.core.events import Tracker
from stages.core.image.backbones import create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.models.artifact import load_encoder
from stages.pretrain.__main__ import main
from stages.pretrain.auto import FEWEST_EPOCHS, MOST_EPOCHS, VIEWS, resolve_auto
from stages.pretrain.train import Data, pretrain
from tests.pretrain.pretraining import POLICY, quick
from tests.support.transfer import digest, run_stage, write_project, write_textures


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(count=160)
    return tmp_path


OUTPUTS = (paths.PRETRAINED, paths.CONTROL, paths.REPORTS / "pretrain", paths.METRICS)


def test_the_stage_leaves_two_encoders_a_curve_and_metrics_and_does_it_again(project, capsys):
    write_textures()
    params = quick(pretrain__control="instance", pretrain__backbone="test_resnet")
    events = run_stage(main, params)
    first = digest(*OUTPUTS)
    store = PixelStore.open()
    for directory, method in ((paths.PRETRAINED, "simclr"), (paths.CONTROL, "instance")):
        encoder = load_encoder(directory)
        assert encoder.config["method"] == method
        assert encoder.encode(store.gather([0, 1])).shape == (2, encoder.num_features)
    metrics = json.loads(paths.metrics("pretrain").read_text())
    assert metrics["method"] == "simclr"
    assert metrics["control"]["method"] == "instance"
    assert metrics["raw_pixels"]["knn"] < metrics["knn"] <= 1
    assert load_encoder(paths.PRETRAINED).config["useful"] is True
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
    assert "the pipeline goes on without it" not in capsys.readouterr().out
    run_stage(main, params)
    assert digest(*OUTPUTS) == first


def test_a_hopeless_pretraining_stops_halfway_and_says_in_one_line_what_to_try(project, capsys):
    params = quick(pretrain__learning_rate=1e-7, pretrain__epochs=8, pretrain__control="instance")
    run_stage(main, params)
    encoder = load_encoder(paths.PRETRAINED)
    assert encoder.config["useful"] is False
    said = capsys.readouterr().out.splitlines()
    stopped = [line for line in said if line.startswith("pretrained: stopped early")]
    assert len(stopped) == 1
    assert "at 50% of the steps" in stopped[0]
    assert "on raw pixels" in stopped[0]
    advice = [line for line in said if "the pipeline goes on without it" in line]
    assert len(advice) == 1
    assert "pretrain.method, augment.policy or budget=thorough may help" in advice[0]
    rows = list(csv.DictReader((paths.reports("pretrain") / "curve.csv").open()))
    last = {row["run"]: int(row["step"]) for row in rows}
    assert last == {"pretrained": 12, "control": 24}, "the control is compared to its end"
    assert not list(paths.RESUME.glob("*"))


def test_a_stopped_run_that_is_started_again_stops_at_the_same_step(project):
    """A kill while the control trains must not let the pretraining go on past its end."""
    params = quick(pretrain__learning_rate=1e-7, pretrain__epochs=8, pretrain__checkpoint_every=1)
    data = Data.of(Manifest.read(paths.CURATED_MANIFEST), PixelStore.open(), POLICY)
    found = []
    with Tracker("pretrain") as track:
        for _ in range(2):
            trained = pretrain("simclr", {}, data, params, track, "pretrained")
            found.append((trained.history.rows, trained.history.stopped))
    assert found[0] == found[1]
    assert found[0][0][-1]["step"] == 12


def test_without_labels_to_judge_by_no_run_is_given_up(project):
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    manifest.frame["label"] = None
    manifest.write(paths.CURATED_MANIFEST)
    run_stage(main, quick(pretrain__learning_rate=1e-7))
    assert load_encoder(paths.PRETRAINED).config["useful"] is True


def test_every_auto_is_resolved_by_size_and_budget_and_said():
    params, notes = resolve_auto(
        quick(pretrain__backbone="auto", pretrain__epochs="auto"), 3, 16, 99
    )
    own = params.pretrain
    assert (own.backbone, own.stem, own.control) == ("test_resnet", "half", None)
    assert notes[0] == "backbone test_resnet, since images of 16 px need no more"
    assert notes[1].startswith(f"{own.epochs} epochs of 99 images, budget quick (")
    large = quick(pretrain__backbone="auto", pretrain__epochs="auto", budget="thorough")
    own = resolve_auto(large, 3, 64, 2000)[0].pretrain
    assert (own.backbone, own.stem, own.control) == ("resnet10t@0.5", "standard", "instance")


def test_epochs_are_what_the_budget_buys_of_these_images_on_this_network():
    def epochs(budget, images=2000, size=64, **changes):
        wanted = quick(pretrain__epochs="auto", pretrain__backbone="auto", **changes)
        wanted = wanted.model_copy(update={"budget": budget})
        return resolve_auto(wanted, 3, size, images)[0].pretrain.epochs

    quickly, standard, thoroughly = (epochs(name) for name in ("quick", "standard", "thorough"))
    assert quickly < standard < thoroughly
    assert epochs("standard", images=4000) == pytest.approx(standard / 2, abs=1)
    assert epochs("standard", size=96) < standard
    network = create_backbone("resnet10t@0.5", 3, 64, 0, "standard")
    work = operations(network, 3, 64) * VIEWS * 2000
    assert standard == int(BUDGETS["standard"].pretrain * 1e12 // work)
    assert epochs("quick", images=10_000_000) == FEWEST_EPOCHS
    assert epochs("thorough", images=10) == MOST_EPOCHS
    assert resolve_auto(quick(pretrain__epochs=7), 1, 16, 99)[0].pretrain.epochs == 7


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


def test_without_labels_it_says_what_was_measured_and_what_labels_would_add(project, capsys):
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    manifest.frame["label"] = None
    manifest.write(paths.CURATED_MANIFEST)
    run_stage(main, quick(pretrain__control=None))
    said = capsys.readouterr().out
    assert "RankMe" in said and "kNN" not in said and "nan" not in said and "None" not in said
    assert "measured without labels: RankMe" in said and "would add the accuracy" in said
    found = json.loads(paths.metrics("pretrain").read_text())
    assert found["rankme"] > 0 and found.get("knn") is None


def test_it_says_how_long_the_rest_of_the_run_will_take(project, capsys):
    run_stage(main, quick(pretrain__control=None))
    told = [
        line for line in capsys.readouterr().out.splitlines() if "to the end of the run" in line
    ]
    assert len(told) == 1
    assert all(stage in told[0] for stage in ("pretrain", "finetune", "evaluate"))
