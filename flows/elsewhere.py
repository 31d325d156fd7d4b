"""A stage in a work pool: a worker that shares this project's files runs it, and it is followed from here as if it ran beside.

``python -m flows.elsewhere POOL FOLDER`` stands for it on this machine: it prints the stage's lines, ends with its exit code,
and holds a lock for as long as somebody wants the result. What the two sides say to each other are files in ``FOLDER``.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from flows.processes import Supervised
from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.io import read_json, write_json, write_text

WORKER = "rootstock-stage-worker"
FOLDER = paths.STATE / "elsewhere"
POLL, LOOK = 0.1, 5.0
"""Seconds between two looks at the files, and at what Prefect says of the run."""
DIED = 128 + signal.SIGKILL


def check(pool: str) -> None:
    """Refuse a pool whose workers cannot be called.

    Raises:
        ConfigError: no server answers, or nobody deployed ``stage-worker`` on the pool.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows.deploy import need_server

    need_server()
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(f"{WORKER}/{pool}")
        except ObjectNotFound:
            raise ConfigError(
                f"no worker of the pool {pool!r} can be asked to run a stage: rootstock deploy stage-worker --pool {pool}"
            ) from None


def run(pool: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Supervised:
    """Let a worker run DVC with these arguments; ``environment`` is written to a file, so no secret may be in it."""
    folder = (FOLDER / uuid4().hex[:12]).resolve()
    write_json(folder / "asked.json", {"arguments": list(arguments), "environment": dict(environment)})
    return Supervised([sys.executable, "-m", "flows.elsewhere", pool, str(folder)], {})


def follow(pool: str, folder: Path) -> int:
    """Ask, print what comes, and return the exit code; that of SIGKILL where the worker died, so that it is tried again."""
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment

    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    with FileLock(folder / "wanted.lock"), get_client(sync_client=True) as client:
        asked = run_deployment(f"{WORKER}/{pool}", parameters={"folder": str(folder)}, timeout=0, idempotency_key=folder.name)
        seen, looked, told = 0, time.monotonic(), False
        while not (over := (folder / "code").is_file()):
            seen = _print(folder / "lines", seen)
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                state = client.read_flow_run(asked.id).state  # type: ignore[union-attr]
                if state is not None and state.is_final() and not (folder / "code").is_file():
                    break
                if state is not None and not told and (state.is_scheduled() or state.is_pending()):
                    print(f"waits for a worker: prefect worker start --pool {pool} starts one", flush=True)
                    told = True
            time.sleep(POLL)
        _print(folder / "lines", seen)
        code = int((folder / "code").read_text()) if over else DIED
    shutil.rmtree(folder, ignore_errors=True)
    return code


def work(folder: Path) -> None:
    """The worker's side: run what is asked, for as long as somebody wants it."""
    from flows import warm

    if not _wanted(folder):
        return
    asked, stopped = read_json(folder / "asked.json"), False
    with warm.run(asked["arguments"], asked["environment"]) as process, (folder / "lines").open("a") as file:
        for line in process.lines():
            if line is not None:
                file.write(line + "\n")
                file.flush()
            if not _wanted(folder):
                process.kill()
            elif not stopped and (folder / "stop").exists():
                process.ask_to_stop()
                stopped = True
    code = process.wait()
    write_text(folder / "code", str(code))


def _wanted(folder: Path) -> bool:
    """Whether the process that asked still lives."""
    try:
        with FileLock(folder / "wanted.lock", blocking=False):
            return False
    except Timeout:
        return True


def _print(path: Path, seen: int) -> int:
    """Print the whole lines after the first ``seen`` bytes; returns how many bytes are printed now."""
    if not path.is_file():
        return seen
    with path.open("rb") as file:
        file.seek(seen)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    sys.stdout.buffer.write(whole)
    sys.stdout.flush()
    return seen + len(whole)


if __name__ == "__main__":
    code = follow(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(code)
