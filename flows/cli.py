"""``rootstock``: the program. Its commands are the files of ``flows/commands``; everything heavy is
imported by the command that needs it.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from flows.process import surroundings, terminal
from flows.process.signals import ends_at_once
from flows.project.environment import RIGHTS
from stages.core import plugins
from stages.core.errors import ConfigError, RootstockError, StageFailed

app = typer.Typer(
    name="rootstock",
    help="From a heap of unlabelled images and a few labels to a served, traceable model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

DEBUG = False
FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
FIRST = ("run", "plan", "doctor")
"""Commands at the head of the list; the rest follows by the alphabet."""
STDOUT = 1
INTERRUPTED = 130
"""What Typer makes of a run that was stopped inside another command, such as a drift check that
retrains.
"""


def main() -> None:
    """The program. Errors are one line on standard error; ``--debug`` anywhere shows the traceback
    instead.
    """
    global DEBUG
    gc.set_threshold(100_000, 20, 20)  # importing the tools makes a million objects and no garbage
    arguments = sys.argv[1:]
    terminal.prepare(arguments)
    surroundings.name_user()
    surroundings.bypass_proxies()
    DEBUG = "--debug" in arguments
    try:
        with ends_at_once(), _told():
            app(
                args=[argument for argument in arguments if argument != "--debug"],
                prog_name="rootstock",
            )
    except RootstockError as error:
        if DEBUG:
            raise
        print(f"rootstock: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader closed the pipe
        sys.exit(0)
    except OSError as error:
        if DEBUG or error.errno not in {*FORBIDDEN, *FULL}:
            raise
        ours = isinstance(error.filename, str) and Path(error.filename).absolute().is_relative_to(
            Path.cwd()
        )
        advice = f": {RIGHTS}" if error.errno in FORBIDDEN and ours else ""
        print(
            f"rootstock: {error.filename or 'what is written'}: {error.strerror}{advice}",
            file=sys.stderr,
        )
        sys.exit(ConfigError.exit_code if error.errno in FORBIDDEN else StageFailed.exit_code)
    except SystemExit as leaving:
        if terminal.UNREAD:  # Typer makes an exit code of 1 of it
            sys.exit(0)
        if leaving.code != INTERRUPTED:
            raise
        print("rootstock: stopped", file=sys.stderr)
        sys.exit(StageFailed.exit_code)


@contextmanager
def _told() -> Iterator[None]:
    """What was printed is written here: of a full disk Python would else tell when it ends, in
    words of its own.
    """
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            if terminal.number(sys.stdout) == STDOUT:  # it is not tried again at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
            raise


@app.callback()
def common() -> None:
    """From a heap of unlabelled images and a few labels to a served, traceable model."""


def _add_commands() -> None:
    """Every file of flows/commands is a command of its name, or a group of them."""
    rest = [name for name in plugins.names("flows.commands") if name not in FIRST]
    for name in (*FIRST, *rest):
        command = plugins.load("flows.commands", name).command
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name.replace("_", "-"))
        else:
            app.command(name.replace("_", "-"))(command)


_add_commands()

if __name__ == "__main__":
    main()
