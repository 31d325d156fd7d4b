"""Atomic, deterministic files."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.errors import DataError
from stages.core.io import (
    atomic_directory,
    atomic_file,
    read_json,
    write_csv,
    write_json,
    write_metrics,
)


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    code = (
        "import os, signal; from stages.core.io import atomic_file\nwith"
        f" atomic_file({str(target)!r}) as t: t.write_text('half'); os.kill(os.getpid(),"
        " signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_directory(target) as directory:
        (directory / "weights").write_text("1")
    with pytest.raises(RuntimeError), atomic_directory(target) as directory:
        (directory / "weights").write_text("2")
        raise RuntimeError
    assert (target / "weights").read_text() == "1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_writer_left_of_a_directory_goes_with_the_next_and_what_a_living_one_writes_stays(  # noqa: E501
    tmp_path: Path,
) -> None:
    target = tmp_path / "pool[1]"
    code = (
        "import os, signal; from stages.core.io import atomic_directory\nwith"
        f" atomic_directory({str(target)!r}) as t: (t / 'half').touch(); os.kill(os.getpid(),"
        " signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_directory(target) as other, atomic_directory(target) as directory:
        assert sorted(tmp_path.iterdir()) == sorted([other, directory])
    assert list(tmp_path.iterdir()) == [target]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "ü"]})
    write_json(tmp_path / "b.json", {"a": [1.5, "ü"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_metrics_are_rounded_to_what_a_reader_can_use(tmp_path: Path) -> None:
    write_metrics(tmp_path / "m.json", {"accuracy": 0.123456789, "nested": {"n": [1, 2.0000001]}})
    assert read_json(tmp_path / "m.json") == {"accuracy": 0.123457, "nested": {"n": [1, 2.0]}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_no_number_is_null_and_named(
    tmp_path: Path, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    write_metrics(
        tmp_path / "evaluate.json", {"accuracy": 0.5, "knn": {"val": value, "all": [1.0, value]}}
    )
    assert read_json(tmp_path / "evaluate.json") == {
        "accuracy": 0.5,
        "knn": {"val": None, "all": [1.0, None]},
    }
    assert (
        f"the metric evaluate.knn.val is {value}, no number: written as null"
        in capsys.readouterr().out
    )


def test_no_json_holds_what_no_other_tool_reads(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"loss": float("nan"), "rows": [(1, float("inf"))]})
    assert read_json(tmp_path / "m.json") == {"loss": None, "rows": [[1, None]]}


def test_missing_and_broken_json_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.json is missing"):
        read_json(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"broken\.json is not valid JSON \(line 1\)"):
        read_json(tmp_path / "broken.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"bytes\.json is not valid JSON: it is not UTF-8 text"):
        read_json(tmp_path / "bytes.json")


def test_csv_uses_unix_line_ends(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["id", "reason"], [["1", "a, b"]])
    assert (tmp_path / "a.csv").read_bytes() == b'id,reason\n1,"a, b"\n'
