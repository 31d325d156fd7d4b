"""An ordered map over processes with a bounded number of results in flight, which survives a worker
that dies.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import (
    connection,
    forkserver,
    get_all_start_methods,
    get_context,
    parent_process,
)
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from stages.core import paths
from stages.core.data.folders import has_images
from stages.core.data.sources import Source

PRELOAD = ["stages.ingest.decode_task", "stages.ingest.readers.folder", "threadpoolctl"]
WORTH_A_WORKER = 2000
"""Images below which starting another process costs more than it saves."""
T = TypeVar("T")
R = TypeVar("R")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worth_workers(found: list[Source], cache: Path = paths.CACHE) -> bool:
    """Whether much will have to be decoded, as far as a glance tells: a large folder, and no
    earlier ingest.
    """
    folders = [source.path for source in found if source.kind == "folder"]
    return not any(cache.glob("decoded-*")) and any(
        path.is_dir() and has_images(path, 2 * WORTH_A_WORKER) for path in folders
    )


def ordered_map(
    function: Callable[[T], R],
    tasks: Iterable[T],
    workers: int,
    rescue: Callable[[T, Callable[[T], R]], R],
) -> Iterator[R]:
    """Yield ``function(task)`` for every task, in order, from ``workers`` processes (1: threads of
    this one).

    When a worker dies, each task in flight goes to ``rescue(task, attempt)``, where ``attempt``
    runs a task in a process of its own and raises ``BrokenProcessPool`` if that process dies.
    """
    if workers <= 1:
        yield from _in_threads(function, tasks)
        return
    pool = Pool(workers)
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, pool.submit(function, task)))
            if len(waiting) <= 2 * workers:
                continue
            result, pool = _next(waiting, pool, workers, function, rescue)
            yield result
        while waiting:
            result, pool = _next(waiting, pool, workers, function, rescue)
            yield result
    finally:
        pool.end()


def _in_threads(function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """For a few images: to start a process takes half a second, and decoding, scaling and hashing
    large ones let others go on.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = processors()
    with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter(
            "ignore"
        )  # as each task does; but they share the filters, and the last to end would leave them so
        waiting: deque[Future[R]] = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _next(
    waiting: deque[tuple[T, Future[R]]],
    pool: Pool,
    workers: int,
    function: Callable[[T], R],
    rescue: Callable[[T, Callable[[T], R]], R],
) -> tuple[R, Pool]:
    task, future = waiting.popleft()
    try:
        return future.result(), pool
    except BrokenProcessPool:
        pool.end()
    pool = Pool(workers)
    later = [other for other, _ in waiting]
    waiting.clear()
    result = rescue(task, lambda part: _alone(function, part))
    waiting.extend((other, pool.submit(function, other)) for other in later)
    return result, pool


class Pool:
    """Processes that decode. Each holds the end of a pipe and ends when the other end is closed: an
    executor that lost a worker while it started another waits for that other for ever.
    """

    def __init__(self, workers: int) -> None:
        context = _context()
        self._theirs, self._ours = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(self._theirs,)
        )

    def submit(self, function: Callable[[T], R], task: T) -> Future[R]:
        """The future of a task. A pool may already know that a worker died and refuse: then the
        future says so, as ever.
        """
        try:
            with _no_main():
                return self._executor.submit(function, task)
        except BrokenProcessPool as error:
            future: Future[R] = Future()
            future.set_exception(error)
            return future

    def end(self) -> None:
        """Drop what is not done and end all processes."""
        self._ours.close()
        self._executor.shutdown(cancel_futures=True)
        self._theirs.close()


@contextmanager
def _no_main() -> Iterator[None]:
    """A process started in here does not import the program that started it: the stage's imports
    (0.6 s) are not needed there.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _alone(function: Callable[[T], R], task: T) -> R:
    pool = Pool(1)
    try:
        return pool.submit(function, task).result()
    finally:
        pool.end()


def _context() -> BaseContext:
    """Workers are copies of a small process that has imported what they need; a copy of this one
    would share all its memory.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def prepare() -> None:
    """Start the process that workers are copied from, which takes half a second, while there is
    other work.
    """
    if "forkserver" in get_all_start_methods():
        _context()
        forkserver.ensure_running()


def _start_worker(lifeline: connection.Connection) -> None:
    """One thread of arithmetic per worker, and no worker outlives its pool or the process that
    started it, however that ended.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()


def _end_with_parent(lifeline: connection.Connection) -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel, lifeline])
        os._exit(1)
