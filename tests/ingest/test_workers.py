import os
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from stages.core.data.sources import Source
from stages.ingest import workers
from stages.ingest.workers import ordered_map


def square_or_die(numbers: list[int]) -> list[int]:
    if 13 in numbers:
        os._exit(9)
    return [number * number for number in numbers]


def rescue(numbers, attempt):
    done = []
    for number in numbers:
        try:
            done += attempt([number])
        except BrokenProcessPool:
            done.append(-1)
    return done


TASKS = [list(range(first, first + 4)) for first in range(0, 40, 4)]


def test_a_task_that_kills_its_process_loses_itself_and_nothing_else():
    results = [value for part in ordered_map(square_or_die, TASKS, 2, rescue) for value in part]
    assert results == [-1 if number == 13 else number * number for number in range(40)]


def name_or_die(task: str | Path) -> str:
    """A path is a task that leaves its process id there and kills its process."""
    if isinstance(task, Path):
        task.write_text(str(os.getpid()))
        os._exit(9)
    return task


def rescue_name(task, attempt):
    return "lost" if isinstance(task, Path) else attempt(task)


def buried(note: Path, seconds: float = 60) -> bool:
    """Whether the process named in the note is dead and reaped, which its pool does after it marked
    itself as broken.
    """
    for _ in range(int(seconds * 100)):
        try:
            os.kill(int(note.read_text()), 0)
        except ProcessLookupError:
            return True
        except (FileNotFoundError, ValueError):
            pass
        time.sleep(0.01)
    return False


def test_a_pool_that_is_known_to_be_broken_when_the_next_task_comes_loses_nothing_else(tmp_path):
    def tasks():
        note = tmp_path / "note"
        yield note
        assert buried(note)
        yield from "abcdefgh"

    assert list(ordered_map(name_or_die, tasks(), 4, rescue_name)) == ["lost", *"abcdefgh"]


@pytest.mark.timeout(60)
def test_a_worker_that_dies_while_another_is_started_is_not_waited_for_for_ever(
    tmp_path, monkeypatch
):
    """The pool ends all workers it knows; the one being started it learns of after that, and would
    join for ever.
    """
    note, started = tmp_path / "note", []
    start = BaseProcess.start

    def slowly(process):
        start(process)
        started.append(process)
        if len(started) == 2:
            assert buried(note)
            time.sleep(0.2)

    monkeypatch.setattr(BaseProcess, "start", slowly)
    assert list(ordered_map(name_or_die, [note, *"abcdefgh"], 4, rescue_name)) == [
        "lost",
        *"abcdefgh",
    ]
    assert len(started) > 2


def test_errors_of_the_function_are_raised_here():
    with pytest.raises(TypeError):
        list(ordered_map(square_or_die, [[1], ["x"]], 2, rescue))


def test_workers_are_made_ready_for_a_large_folder_that_was_never_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "WORTH_A_WORKER", 2)
    found = [Source("folder", str(tmp_path / "images"), "folder"), Source("digits", "", "digits")]
    cache = tmp_path / "cache"
    assert not workers.worth_workers(found, cache)  # a folder that is missing is told later
    (tmp_path / "images").mkdir()
    for number in range(4):
        assert not workers.worth_workers(found, cache)
        (tmp_path / "images" / f"{number}.png").touch()
    assert workers.worth_workers(found, cache)
    (cache / "decoded-0").mkdir(parents=True)
    assert not workers.worth_workers(found, cache)
