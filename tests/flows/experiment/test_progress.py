"""What an experiment says while its cells are at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.experiment.design import Cell
from flows.experiment.progress import Pace, last_line
from flows.experiment.state import ExperimentState

CELLS = [Cell("v1", (("pretrain.method", "simclr"),), seed) for seed in range(3)]


def look(pace: Pace, waiting: list[Cell], capsys: pytest.CaptureFixture[str]) -> str:
    pace.status.every = 0
    pace.look(waiting, len(CELLS))
    return capsys.readouterr().out.strip()


def test_the_line_names_the_cell_at_work_and_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pace, log = (
        Pace(ExperimentState(tmp_path), jobs=2),
        ExperimentState(tmp_path).log(CELLS[1].identity),
    )
    assert look(pace, CELLS, capsys) == "0/3 │ 0:00", "nobody knows yet how long a cell takes"
    log.parent.mkdir()
    log.write_text("starts: never ran\npretrain   40 %   40/100 steps\n\n")
    assert look(pace, CELLS, capsys) == f"0/3 │ 0:00 │ {CELLS[1].label}: pretrain 40 % 40/100 steps"
    pace.end("   1/3 │ first", 30.0)
    assert (
        look(pace, CELLS[1:], capsys)
        .splitlines()[1]
        .strip()
        .startswith("1/3 │ 0:00, about 0:30 left │ ")
    ), "two cells, two at a time"


def test_what_an_earlier_session_said_is_not_at_work_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = ExperimentState(tmp_path).log(CELLS[0].identity)
    log.parent.mkdir()
    log.write_text("pretrain 10 %\n")
    pace = Pace(ExperimentState(tmp_path), jobs=1)
    pace.began += 60
    assert "pretrain" not in look(pace, CELLS, capsys)


def test_nothing_is_said_before_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Pace(ExperimentState(tmp_path), jobs=1).look(CELLS, len(CELLS))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_log_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "log").write_text(text)
    assert last_line(tmp_path / "log") == ""
