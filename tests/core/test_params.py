"""params.yaml: typed once, one line for whatever is wrong with it."""

import shutil
from pathlib import Path

import pytest

from stages.core.errors import ConfigError
from stages.core.params import load_params, override

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def refused(assignment: str, file: Path) -> str:
    before = file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        override([assignment], file)
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
    params = override(["pretrain.settings.temperature=0.3", "pretrain.control=null", "evaluate.labels_per_class=[2, 4]"], file)
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
        ("seed=x", ["seed is 'x'", "integer"]),
        ("pretrain.epochs", ["expected key=value"]),
        ("pretrain.epochs.more=1", ["pretrain.epochs"]),
    ],
)
def test_a_refused_value_says_what_is_allowed(assignment: str, parts: list[str], file: Path) -> None:
    message = refused(assignment, file)
    assert all(part in message for part in parts), message


def test_a_missing_key_is_named(file: Path) -> None:
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("  epochs:")))
    with pytest.raises(ConfigError, match=r"epochs is missing"):
        load_params(file)


def test_a_file_that_is_not_yaml_names_the_line(file: Path) -> None:
    file.write_text("seed: 0\ningest: [1,\n")
    with pytest.raises(ConfigError, match=r"params\.yaml, line \d+: not valid YAML"):
        load_params(file)


def test_no_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="root of a Rootstock project"):
        load_params(tmp_path / "params.yaml")


def test_a_misspelt_key_in_the_file_is_called_misspelt_not_missing(file: Path) -> None:
    file.write_text(file.read_text().replace("  epochs:", "  epoch:", 1))
    with pytest.raises(ConfigError, match=r"pretrain\.epoch is not a parameter; did you mean 'epochs'"):
        load_params(file)
