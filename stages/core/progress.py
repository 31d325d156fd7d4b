"""Progress with rate and time left, on anything that takes over a few seconds.

On a terminal it is one line that moves; in a pipe (DVC, Prefect, CI) it is a whole line every few
seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType


@contextmanager
def aside(when: bool = True) -> Iterator[None]:
    """Send progress and all other output to standard error, where a program reads the answer."""
    with redirect_stdout(sys.stderr if when else sys.stdout):
        yield


class Status:
    """One line: on a terminal it moves, in a pipe it is said anew every ``every`` seconds."""

    def __init__(self, every: float = 5.0) -> None:
        self.moving = sys.stderr.isatty()
        self.every = 0.2 if self.moving else every
        self.began = self.shown = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to say something again."""
        return time.monotonic() - self.shown >= self.every

    def show(self, text: str) -> None:
        """Say it."""
        self.shown = time.monotonic()
        if self.moving:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
        else:
            print(text, flush=True)

    def clear(self) -> None:
        """Make room for another line."""
        if self.moving and self.shown > self.began:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class Progress:
    """``with Progress("pretrain", total=400, unit="steps") as bar: … bar.advance(1, loss=0.3)``."""

    def __init__(
        self, description: str, total: int, unit: str = "it", every: float = 5.0, start: int = 0
    ) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = self.start = start
        self.status = Status(every)
        self.began = self.status.began
        self.values: dict[str, float] = {}
        self.told = -1

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.status.moving and self.status.shown > self.status.began:
            sys.stderr.write("\n" if kind else f"\r{self.line()}\x1b[K\n")
        elif not self.status.moving and kind is None and self.told != self.done and self._lasted:
            self.status.show(self.line())

    def advance(self, count: int = 1, **values: float) -> None:
        """Count ``count`` more as done and keep ``values`` to show beside it."""
        self.done += count
        self.values.update(values)
        if self.status.due:
            self.told = self.done
            self.status.show(self.line())

    @property
    def _lasted(self) -> bool:
        return time.monotonic() - self.began > self.status.every

    def line(self) -> str:
        """What is shown: share, count, rate, time left and the latest values."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        rate = (self.done - self.start) / seconds
        left = clock((self.total - self.done) / rate) if rate > 0 else "?"
        share = 100 * self.done / self.total if self.total else 100.0
        extra = "".join(f"  {name} {value:.4g}" for name, value in self.values.items())
        return (
            f"{self.description}  {share:3.0f} %  {self.done:,}/{self.total:,} {self.unit} "
            f" {rate:,.1f} {self.unit}/s "
            f" {'took ' + clock(seconds) if self.done >= self.total else 'left ' + left}{extra}"
        )


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
