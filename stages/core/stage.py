"""The shell of every ``python -m stages.<stage>``: parameters in, one clear line out when something
is wrong.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import time
from collections.abc import Callable
from functools import wraps

from stages.core.errors import RootstockError
from stages.core.events import Tracker
from stages.core.params import Params, load_params

Main = Callable[[Params, Tracker], None]


def stage(name: str) -> Callable[[Main], Callable[[], None]]:
    """Turn ``main(params, track)`` into a program: ``--help``, ``--debug``, exit codes, events and
    timings.
    """

    def decorate(main: Main) -> Callable[[], None]:
        @wraps(main)
        def program() -> None:
            parser = argparse.ArgumentParser(
                prog=f"python -m stages.{name}", description=main.__doc__
            )
            parser.add_argument(
                "--debug", action="store_true", help="show the whole traceback of an error"
            )
            arguments = parser.parse_args()
            _show_what_can_be_shown()
            with Tracker(name) as track:
                sys.exit(_guarded(main, name, track, arguments.debug))

        return program

    return decorate


def _show_what_can_be_shown() -> None:
    """A terminal or log that is not UTF-8 gets a question mark for what it lacks, and never stops a
    stage.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _guarded(main: Main, name: str, track: Tracker, debug: bool) -> int:
    began = time.monotonic()
    try:
        main(load_params(), track)
    except RootstockError as error:
        track.end(error.exit_code, str(error))
        if debug:
            raise
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except BaseException as error:
        track.end(3, f"{type(error).__name__}: {error}")
        raise
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    track.metrics({"system.seconds": time.monotonic() - began, "system.peak_memory_mib": memory})
    track.end(0)
    return 0
