"""params.yaml: typed once, one line for whatever is wrong with it."""

import shutil
from pathlib import Path

import pytest

from benchmarks.support.checkout import ROOT
from stages.core.errors import ConfigError
from stages.core.params import check_params, load_params


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def test_a_missing_key_is_named(file: Path) -> None:
    file.write_text(
        "\n".join(
            line for line in file.read_text().splitlines() if not line.startswith("  epochs:")
        )
    )
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
    with pytest.raises(
        ConfigError, match=r"pretrain\.epoch is not a parameter; did you mean 'epochs'"
    ):
        load_params(file)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "{from: digits, licence: MIT}",
            r"ingest\.source: \[1\]: licence is not a parameter; did you mean 'license'",
        ),
        ("{from: digits, role: pol}", r"\[1\]: role is 'pol'; it should be 'target' or 'pool'"),
        ("5", r"\[1\]: 5; it should be a valid dictionary"),
        (
            "{folder: /data}",
            (
                r"\[1\]: folder is not a parameter; .*allowed here: from, role, name, license,"
                r" attribution"
            ),
        ),
    ],
)
def test_a_fault_of_one_of_several_sources_is_its_own(file: Path, entry: str, words: str) -> None:
    file.write_text(file.read_text().replace("source: digits ", f"source: [digits, {entry}] "))
    with pytest.raises(ConfigError, match=words) as caught:
        load_params(file)
    assert "\n" not in str(caught.value)


def test_bare_text_is_a_source_of_several(file: Path) -> None:
    file.write_text(
        file.read_text().replace(
            "source: digits ", "source: [digits, {from: synthetic, role: pool}] "
        )
    )
    found = load_params(file).ingest.source
    assert isinstance(found, tuple)
    assert [(one.from_, one.role) for one in found] == [("digits", "target"), ("synthetic", "pool")]


@pytest.mark.parametrize("section", ["pretrain", "distill"])
def test_a_tag_of_pretrained_weights_is_refused_with_the_parameter_that_loads_them(
    section: str,
) -> None:
    values = load_params(ROOT / "params.yaml").model_dump(by_alias=True)
    values[section]["backbone"] = "resnet18.a1_in1k"
    words = (
        rf"{section}\.backbone: resnet18\.a1_in1k: the tag 'a1_in1k' .*resnet18 is.*pretrain\.start"
    )
    with pytest.raises(ConfigError, match=words):
        check_params(values)


def test_a_file_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("# naïve\nseed: 0\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params\.yaml is not UTF-8 \(byte 4\)"):
        load_params(tmp_path / "params.yaml")
