"""Command line as a process of its own: what it printed, or its one-line error raised here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from stages.core.errors import ConfigError, Refused, StageFailed

PREFIX = "rootstock: "
ERRORS = {error.exit_code: error for error in (Refused, ConfigError, StageFailed)}
CODE = Path(__file__).resolve().parents[2]


def call(arguments: list[str], root: Path, echo: bool = False) -> str:
    """Run ``rootstock ARGUMENTS`` in ``root``; returns what it printed.

    Args:
        echo: print every line as it comes, those of standard error too.

    Raises:
        Refused, ConfigError, StageFailed: with the command's own line, by its exit code.
    """
    code = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(CODE)]))
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": code, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if echo else subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # an interrupt reaches it once, from here
    )
    lines: list[str] = []
    try:
        if echo and process.stdout is not None:
            for line in process.stdout:
                lines.append(line)
                if not line.startswith(PREFIX):
                    print(line, end="", flush=True)
        printed, problems = process.communicate()
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.communicate()
        raise
    if process.returncode:
        told = lines if echo else problems.splitlines()
        last = next((line for line in reversed(told) if line.startswith(PREFIX)), "")
        text = last.removeprefix(PREFIX).strip()
        kind = ERRORS.get(process.returncode, StageFailed)
        raise kind(text or f"rootstock {arguments[0]} ended with {process.returncode}")
    return printed
