"""A worker's side of a stage in a work pool: run what is asked, for as long as somebody wants
it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.adapters.dvc import client
from flows.pipeline.remote.mailbox import Mailbox

UNWANTED = "the run that asked for it is gone"


def work(folder: Path) -> int | None:
    """Run DVC as ``folder`` asks; returns its exit code, None where nobody wants it any more.
    Nothing of it is left then.
    """
    errand = Mailbox(folder)
    if not errand.wanted:
        _drop(errand)
        return None
    asked, stopped = errand.asked, False
    with errand.working():
        with (
            client.run(asked["arguments"], asked["environment"]) as process,
            errand.lines.open("a") as file,
        ):
            for line in process.lines():
                if line is not None:
                    file.write(line + "\n")
                    file.flush()
                if not errand.wanted:
                    process.kill()
                elif not stopped and errand.stop.exists():
                    process.ask_to_stop()
                    stopped = True
        code = process.wait()
        if errand.wanted:
            errand.end(code)
            return code
    _drop(errand)
    return None


def _drop(errand: Mailbox) -> None:
    shutil.rmtree(errand.folder, ignore_errors=True)
