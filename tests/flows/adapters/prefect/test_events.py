"""Events of the registry: they wait for a server, keep their time, and reach it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from benchmarks.support.registry import crown
from flows.adapters.mlflow.store import Store
from flows.adapters.prefect import events as announcements
from flows.registry import aliases


def test_events_wait_for_a_server_and_keep_their_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    crown(store, 1)
    crown(store, 2)
    aliases.rollback(store, "it mistakes cats")
    waiting = [json.loads(line) for line in announcements.OUTBOX.read_text().splitlines()]
    assert [(one["payload"]["kind"], one["payload"]["version"]) for one in waiting] == [
        ("promotion", "1"),
        ("promotion", "2"),
        ("rollback", "1"),
    ]
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert announcements.flush_outbox() == 0, "nobody listens at that address"
    assert len(announcements.OUTBOX.read_text().splitlines()) == 3


def test_events_that_waited_reach_the_server(store: Store, server: str) -> None:
    from prefect.client.orchestration import get_client

    announcements.OUTBOX.parent.mkdir(exist_ok=True)
    announcements.OUTBOX.write_text('{"id": "cut off by a full d')
    crown(store, 1)
    with announcements.OUTBOX.open("a") as file:
        waited = {
            "id": str(uuid4()),
            "event": "rootstock.champion.moved",
            "payload": {"version": "7"},
        }
        resource = {"prefect.resource.id": f"rootstock.test.{uuid4()}"}
        file.write(
            json.dumps({**waited, "resource": resource, "occurred": datetime.now(UTC).isoformat()})
            + "\n"
        )
    assert announcements.flush_outbox() == 1
    assert announcements.OUTBOX.read_text() == ""
    wanted = {"filter": {"resource": {"id": [resource["prefect.resource.id"]]}}}
    with get_client(sync_client=True) as client:
        for _ in range(120):
            events = client.request("POST", "/events/filter", json=wanted).json()["events"]
            if events:
                break
            time.sleep(0.5)
    assert [event["id"] for event in events] == [waited["id"]]
