"""``--set`` changes one value of params.yaml and nothing else, or says why not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.support.checkout import ROOT
from flows.pipeline.preflight import check_choices
from flows.project.params_file import override
from stages.core.errors import ConfigError
from stages.core.params import Params


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def refused(assignment: str, file: Path, check: Callable[[Params], None] | None = None) -> str:
    before = file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        override([assignment], file, check)
    assert file.read_bytes() == before, "a refused value must change nothing"
    assert "\n" not in str(caught.value), "one line"
    return str(caught.value)


def test_an_override_changes_the_value_and_keeps_comments_and_order(file: Path) -> None:
    before = file.read_text().splitlines()
    assert override(["pretrain.epochs=7"], file).pretrain.epochs == 7
    after = file.read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0][1].startswith("  epochs: 7")


def test_values_are_read_as_yaml(file: Path) -> None:
    params = override(
        [
            "pretrain.settings.temperature=0.3",
            "pretrain.control=null",
            "evaluate.labels_per_class=[2, 4]",
        ],
        file,
    )
    assert params.pretrain.settings == {"temperature": 0.3}
    assert params.pretrain.control is None
    assert params.evaluate.labels_per_class == (2, 4)


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("pretrain.epoch=3", ["pretrain.epoch is not a parameter", "did you mean 'epochs'?"]),
        ("pretrian.epochs=3", ["pretrian does not exist", "did you mean 'pretrain'?"]),
        ("pretrain.epochs=-1", ["pretrain.epochs is -1", "greater than 0"]),
        ("ingest.channels=2", ["ingest.channels is 2", "'auto'", "1 or 3"]),
        ("pretrain.optimizer=sgd", ["pretrain.optimizer is 'sgd'", "'adamw' or 'lars'"]),
        ("ingest.test_fraction=0.9", ["ingest: ", "together they must be below 1"]),
        ("seed=x", ["seed is 'x'", "integer"]),
        ("pretrain.epochs", ["expected key=value"]),
        ("pretrain.epochs.more=1", ["pretrain.epochs"]),
    ],
)
def test_a_refused_value_says_what_is_allowed(
    assignment: str, parts: list[str], file: Path
) -> None:
    message = refused(assignment, file)
    assert all(part in message for part in parts), message


def test_a_source_without_its_path_is_text_and_no_mapping(file: Path) -> None:
    assert override(["ingest.source=folder:"], file).ingest.source == "folder:"
    assert override(["pretrain.settings={temperature: 0.5}"], file).pretrain.settings == {
        "temperature": 0.5
    }


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        (
            "pretrain.backbone=resnet1",
            ["pretrain.backbone: timm has no 'resnet1'", "did you mean 'resnet1"],
        ),
        (
            "distill.backbone=torchvision:resnet19",
            ["distill.backbone: torchvision has no 'resnet19'", "did you mean"],
        ),
        ("augment.policy=glyph", ["augment.policy: 'glyph'", "did you mean 'glyphs'?"]),
        ("promote.gates.accuracy=2", ["promote.gates.accuracy is 2", "a fraction, 0 to 1"]),
        (
            "curate.encoder=registry:foo@bar",
            ["curate.encoder: registry:foo@bar: nothing is registered yet"],
        ),
        ("ingest.source=/", ["'/' is no source; did you mean folder:/?"]),
    ],
)
def test_names_are_checked_before_anything_is_written(
    assignment: str, parts: list[str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    message = refused(assignment, file, check_choices)
    assert all(part in message for part in parts), message
