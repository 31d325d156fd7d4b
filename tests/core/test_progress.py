"""Progress lines."""

import pytest

from stages.core.progress import Progress, aside, clock


def test_a_pipe_gets_whole_lines_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("pretrain", total=4, unit="steps", every=0) as bar:
        bar.advance(1, loss=0.5)
        bar.advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pretrain   25 %  1/4 steps")
    assert "left" in lines[0]
    assert lines[0].endswith("loss 0.5")


def test_a_resumed_run_counts_its_rate_from_where_it_began() -> None:
    bar = Progress("pretrain", total=100, start=90)
    bar.began -= 5
    bar.done = 95
    assert "1.0 it/s" in bar.line()
    assert "95 %" in bar.line()


def test_times_read_as_a_clock() -> None:
    assert [clock(5), clock(65), clock(3723)] == ["0:05", "1:05", "1:02:03"]


def test_the_end_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("ingest", total=2, every=0) as bar:
        bar.advance(2)
        bar.began -= 100
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_progress_stays_out_of_an_output_that_another_program_reads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for when in (True, False):
        with aside(when), Progress("predict", total=2, every=0) as bar:
            bar.advance(1)
        said = capsys.readouterr()
        assert ("predict" in said.err) is when and ("predict" in said.out) is not when
