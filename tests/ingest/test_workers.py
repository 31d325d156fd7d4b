import os
from concurrent.futures.process import BrokenProcessPool

import pytest

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


def test_errors_of_the_function_are_raised_here():
    with pytest.raises(TypeError):
        list(ordered_map(square_or_die, [[1], ["x"]], 2, rescue))
