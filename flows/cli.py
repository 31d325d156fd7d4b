"""``rootstock …``: what there is to ask. Everything heavy is imported by the command that needs it."""  # noqa: E501

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import AGAIN, enter
from flows.pipeline.request import RunRequest, Stopped
from flows.process import surroundings, terminal
from flows.process.signals import end, ends_at_once
from stages.core import paths, plugins
from stages.core.errors import ConfigError, Refused, RootstockError, StageFailed

if TYPE_CHECKING:
    from flows.pipeline.startup import Result

app = typer.Typer(
    name="rootstock",
    help="From a heap of unlabelled images and a few labels to a served, traceable model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter in params.yaml first."),
]
Supposed = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Suppose this parameter; params.yaml stays as it is."
    ),
]
To = Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")]
Force = Annotated[
    list[str] | None, typer.Option(metavar="STAGE", help="Run this stage though it is fresh.")
]
Pool = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Work pool whose workers run the stages (see deploy)."),
]
DEBUG = False
FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
RIGHTS = (
    "rootstock needs write access to the project directory, including .dvc, .prefect and"
    " .rootstock (chown, chmod, mount)"
)
WIDE = 200
"""Characters in a line of the table where no terminal says how many fit."""
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


@app.command()
def run(
    assignments: Assignments = None, to: To = None, force: Force = None, pool: Pool = None
) -> None:
    """Bring every stage up to date; promote if the gates agree.

    Exit codes: 0 done, 1 a gate or validation said no, 2 the call or the configuration is wrong, 3
    a stage failed.
    """
    from flows.adapters.dvc import client
    from flows.adapters.mlflow import recorder_client
    from flows.adapters.prefect.server import prefect_server
    from flows.project import environment, params_file
    from flows.project.params_lock import turn

    environment.enter(environment.find_root())
    if assignments:
        params_file.changed(assignments)  # a slip is told now, not when another run has ended
    request = RunRequest(to, tuple(force or ()), tuple(assignments or ()), pool)
    with ends_at_once(AGAIN), turn(change=bool(assignments)):
        # DVC and MLflow are imported on the second core while this one imports Prefect
        client.start()
        recorder_client.start()
        enter(assignments, stages=[*([to] if to else []), *(force or [])], store=True, sources=True)
        try:
            # the server starts while Prefect is imported, which finds it
            with ends_at_once(f"continue with: {request.command()}"), prefect_server():
                from flows.pipeline.flow import run_pipeline

                result = run_pipeline(request)
        except KeyboardInterrupt as stop:
            end(
                "stopped",
                "continue with:"
                f" {request.command(stop.run if isinstance(stop, Stopped) else None)}",
            )
        _report(result, request)


@app.command()
def plan(
    assignments: Supposed = None,
    to: To = None,
    force: Force = None,
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Say what would run, why, and how long it took last time.

    Nothing is changed.
    """
    from flows.adapters.dvc import client
    from flows.pipeline import summary
    from flows.project import environment
    from stages.core.progress import aside

    _check_writable(environment.enter(environment.find_root()))
    client.start()
    with aside(json):
        enter(stages=[*([to] if to else []), *(force or [])], sources=True)
        from flows.pipeline.planning import dry_plan, last_seconds

        found = dry_plan(tuple(force or ()), to, tuple(assignments or ()))
    lines = summary.plan_lines(found, last_seconds(found))
    if json:
        print(summary.plan_json(lines))
        return
    for name, what, why in lines:
        print(f"{name:<10} {what:<8} {why}".rstrip())
    if all(what == "cached" for _, what, _ in lines):
        print("nothing to do: every stage is cached")


@app.command()
def doctor() -> None:
    """Say what this machine can do, and what is missing."""
    from flows.project.doctor import examine, show

    sys.exit(show(examine()))


def _report(result: Result, request: Any) -> None:
    """The table, the version with its gates, where to look next; then the exit code the run
    deserves.
    """
    from rich.console import Console

    from flows.pipeline import summary

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print()
    console.print(summary.table(result.run))
    console.print()
    if result.run.failure:
        fixed = "once that is fixed " if isinstance(result.run.failure, Refused) else ""
        console.print(
            f"{fixed}continue with: [bold]{request.command(result.run)}[/]", soft_wrap=True
        )
        raise result.run.failure
    if result.promotion:
        console.print(
            f"[bold]{result.promotion.version.name}[/] {result.promotion.verdict}", soft_wrap=True
        )
        for line in summary.next_steps(result.promotion):
            console.print(f"  {line}", soft_wrap=True)
        result.promotion.check()


def _check_writable(root: Path) -> None:
    """DVC, which is asked what is stale, keeps notes of its own."""
    for place in (root / paths.STATE, root / ".dvc"):
        present = place if place.exists() else root
        if not os.access(present, os.W_OK):
            raise ConfigError(f"{present} cannot be written: {RIGHTS}")


def _add_commands() -> None:
    """Every file of flows/commands is a command of its name, or a group of them."""
    for name in plugins.names("flows.commands"):
        command = plugins.load("flows.commands", name).command
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)


_add_commands()

if __name__ == "__main__":
    main()
