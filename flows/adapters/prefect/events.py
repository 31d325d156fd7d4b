"""Events for Prefect's automations. Where no server listens they wait in a file and go out with the
next command that has one.

Without a server there is nobody who could act on an event, so nothing is lost by waiting; its time
stays the time it happened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from flows.adapters.prefect.server import answers, flush
from flows.process.locks import lock
from stages.core import paths
from stages.core.io import write_text

OUTBOX = paths.STATE / "outbox.jsonl"
PATIENCE = 5.0


def emit(event: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> bool:
    """Say that something happened; returns whether a server was told now.

    Args:
        resource: needs ``prefect.resource.id``.
    """
    line = {
        "id": str(uuid4()),
        "event": event,
        "resource": dict(resource),
        "payload": dict(payload),
        "occurred": datetime.now(UTC).isoformat(),
    }
    with lock(Path(f"{OUTBOX}.lock")):
        paths.STATE.mkdir(exist_ok=True)
        before = OUTBOX.read_bytes() if OUTBOX.is_file() else b""
        cut = before[-1:] not in (b"", b"\n")
        with OUTBOX.open("a") as file:
            file.write("\n" * cut + json.dumps(line) + "\n")
    return flush_outbox() > 0


def flush_outbox() -> int:
    """Send what waits to the server at ``PREFECT_API_URL``; returns how many events went. Without a
    server they go on waiting.
    """
    if not OUTBOX.is_file() or not OUTBOX.stat().st_size or not _server_answers():
        return 0
    from prefect.context import TaskRunContext
    from prefect.events import emit_event

    with lock(Path(f"{OUTBOX}.lock")):
        waiting = list(_whole(OUTBOX.read_text(errors="replace").splitlines()))
        for one in waiting:
            when = datetime.fromisoformat(one.pop("occurred"))
            emit_event(**{**one, "id": UUID(one["id"]), "occurred": when})
        write_text(OUTBOX, "")
    if waiting and TaskRunContext.get() is None:  # a flow hands its events over when it ends
        flush(PATIENCE)
    return len(waiting)


def _whole(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events of the lines that are whole: one that a full disk cut off is lost, and keeps no
    other back.
    """
    for line in lines:
        with suppress(json.JSONDecodeError):
            if isinstance(event := json.loads(line), dict):
                yield event


def _server_answers() -> bool:
    address = os.environ.get("PREFECT_API_URL")
    return bool(address) and answers(str(address).rstrip("/"))
