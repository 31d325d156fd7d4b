"""What Prefect shows of a stage while it runs, and who is told when something happened."""

from __future__ import annotations

import base64
import http.server
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.pipeline.live_view import LiveView
from flows.process.stage_events import Event
from tests.support.services import state
from tests.support.toy_stages import Tiny, tiny

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def artifacts(server: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(
        f"{server}/artifacts/filter", json={"artifacts": {"key": {"any_": [key]}}}
    ).json()
    return found


def test_the_line_says_step_loss_knn_and_time_left() -> None:
    view = LiveView("pretrain")
    view._began = 100.0
    view.see(Event("metrics", 105.0, {"values": {"knn": 0.82, "system.seconds": 5.0}, "step": 40}))
    view._values["loss"] = 0.31
    assert (
        view.line(Event("progress", 140.0, {}), 40, 100)
        == "pretrain: step 40 of 100, knn 0.82, loss 0.31, 1:00 left"
    )


def test_a_running_stage_shows_its_progress_and_its_pictures(
    tmp_path: Path, server: str, _blank: Path
) -> None:
    project: Tiny = tiny(tmp_path / "project", _blank / "mlruns")
    script = project.root / "pretrain.py"
    picture = f'Path("views.png").write_bytes({PIXEL!r}); track.artifact("views.png")'
    script.write_text(
        script.read_text().replace(
            '    count("pretrain")\n', f'    count("pretrain")\n    {picture}\n'
        )
    )
    project.rootstock("run", "--set", "pretrain.epochs=20", TINY_EPOCH="0.15")
    bars = artifacts(server, "progress-pretrain")
    assert bars
    mine = [
        bar for bar in bars if "step 20 of 20" in str(bar["description"])
    ]  # other tests use the server too
    assert [bar["type"] for bar in mine] == ["progress"]
    assert "knn 0.09" in str(mine[0]["description"])
    assert str(artifacts(server, "pretrain-views")[0]["data"]).startswith("data:image/png;base64,")
    assert artifacts(server, "stages")
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        runs = {run for (run,) in store.execute("select run_uuid from runs")}
    texts = [str(artifact["data"]) for artifact in artifacts(server, "summary")]
    named = [runs & set(text.replace("|", " ").split()) for text in texts]
    (summary,) = [
        text for text, found in zip(texts, named, strict=True) if len(found) == 5
    ]  # four stages and their run
    for stage in ("ingest", "curate", "pretrain", "evaluate"):
        assert f"| {stage} | ran |" in summary


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told."""

    told: list[dict[str, str]]

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    Receiver.told = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/token-in-the-address", Receiver.told
        listening.shutdown()


@pytest.mark.slow
def test_a_webhook_hears_of_a_failed_run_and_its_address_is_in_no_output(
    tmp_path: Path,
    _blank: Path,
    receiver: tuple[str, list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    address, told = receiver
    project = tiny(tmp_path / "project", _blank / "mlruns")
    project.separate = True
    project.rootstock("up", "--no-worker", PREFECT_HOME=str(project.root / ".prefect"))
    try:
        assert "ROOTSTOCK_WEBHOOK_URL is not set" in project.rootstock("notify", code=2)
        printed = project.rootstock("notify", "--private", ROOTSTOCK_WEBHOOK_URL=address)
        assert "token-in-the-address" not in printed
        page = project.root / "reports/evaluate/index.html"
        page.parent.mkdir(parents=True)
        page.write_text("the report")
        project.rootstock("run", "--set", "pretrain.method=instance", code=1, TINY_BREAK="1")
        addresses = {name: state(project, name)["address"] for name in ("prefect", "mlflow")}
        (summary,) = artifacts(f"{addresses['prefect']}/api", "summary")
        assert (
            summary["data"].count(f"]({addresses['mlflow']}/#/experiments/") == 4
        )  # three stages and the whole run
        assert f"[reports/evaluate/index.html]({page.as_uri()})" in summary["data"]
        deadline = time.monotonic() + 90
        while not told:
            assert time.monotonic() < deadline, "nobody called"
            time.sleep(0.2)
        assert "prefect.flow-run.Failed" in told[0]["text"]
    finally:
        project.rootstock("down")
