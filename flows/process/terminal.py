"""Standard streams of the command line: closed, unread, or in another encoding than UTF-8, they
never stop a command.
"""

from __future__ import annotations

import io
import locale
import os
import sys
from typing import TextIO, cast

READERS = frozenset(
    (
        "audit",
        "compare",
        "data",
        "doctor",
        "label-next",
        "lineage",
        "methods",
        "plan",
        "predict",
        "search",
        "suggest",
    )
)
"""Commands that end when what reads their output has read enough; any other goes on in silence: it
changes something.
"""
STREAMS = {1: "stdout", 2: "stderr"}
UNREAD: list[int] = []
"""Streams whose reader has left: what ends a command then is no failure."""


def prepare(arguments: list[str]) -> None:
    """Make the streams of this process safe to write to, and UTF-8 the encoding of every file.

    Where the locale says otherwise the process starts itself again in Python's UTF-8 mode, which
    only a start can choose; what is printed keeps the encoding of the terminal, with a question
    mark for what cannot be shown.
    """
    _open_closed()
    if not sys.flags.utf8_mode and not _is_utf8(locale.getencoding(), sys.getfilesystemencoding()):
        _start_in_utf8()
    ends = next((argument for argument in arguments if not argument.startswith("-")), "") in READERS
    for place, name in STREAMS.items():
        stream = getattr(sys, name)
        if stream is None:
            outlet = io.FileIO(place, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(outlet, encoding="utf-8", errors="replace"))
        elif stream is getattr(sys, f"__{name}__") and number(stream) == place:
            setattr(sys, name, _wrapped(stream, place, ends=ends and name == "stdout"))


def _is_utf8(*encodings: str) -> bool:
    return all(encoding.lower().replace("-", "") == "utf8" for encoding in encodings)


def _open_closed() -> None:
    """A closed stream (``>&-``) becomes one to nowhere: the next file opened would take its
    number.
    """
    for place in (0, *STREAMS):
        try:
            os.fstat(place)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == place:
                os.set_inheritable(place, True)  # by sidecars and stages, too
            else:
                os.dup2(opened, place)
                os.close(opened)


def _start_in_utf8() -> None:
    """Does not return."""
    shown = sys.stdout.encoding if sys.stdout else "utf-8"
    settings = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": f"{shown}:replace"}
    # nothing was written, and nothing must be
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], settings)


def number(stream: TextIO) -> int | None:
    """Return the file descriptor behind a stream; None where there is none."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _wrapped(stream: TextIO, place: int, ends: bool) -> TextIO:
    stream.flush()
    buffered = io.BufferedWriter(cast(io.RawIOBase, Outlet(place, ends)))
    unbuffered = place == 2 or bool(getattr(stream, "line_buffering", False))
    return io.TextIOWrapper(
        buffered, encoding=stream.encoding, errors="replace", line_buffering=unbuffered
    )


class Outlet(io.FileIO):
    """A standard stream; when its reader is gone it raises, where ``ends``, or takes what comes and
    shows it nowhere.
    """

    def __init__(self, place: int, ends: bool) -> None:
        super().__init__(place, "w", closefd=False)
        self.ends = ends

    def write(self, content: bytes) -> int | None:  # type: ignore[override]
        """As a file's."""
        try:
            return super().write(content)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self.ends:
                UNREAD.append(self.fileno())
                raise
            return len(content)
