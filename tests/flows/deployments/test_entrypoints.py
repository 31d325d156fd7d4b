"""What a schedule runs every night, run once: the drift check and the re-verification of a real
champion.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from flows.adapters.prefect.server import flush
from flows.deployments import entrypoints
from flows.monitoring.drift import announce, judge
from stages.core.random import numpy_generator
from stages.core.sections import Monitor
from tests.flows.project.test_worktrees import inside
from tests.support.toy_project import holding

DIGITS = load_digits().images


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """More of what it was trained on, and noise."""
    noise = numpy_generator(0, "noise").integers(0, 256, (40, 8, 8), dtype=np.uint8)
    made = {}
    for name, images in (
        ("digits", (DIGITS[::20] * 255 / 16).round().astype(np.uint8)),
        ("noise", noise),
    ):
        made[name] = tmp_path_factory.mktemp(name)
        for number, image in enumerate(images):
            Image.fromarray(image).save(made[name] / f"{number}.png")
    return made


def told(server: str, event: str, sentence: str) -> dict[str, Any]:
    """The event of this name that says this sentence, once the server has it, which takes a
    moment.
    """
    flush()
    deadline = time.monotonic() + 60
    body = {"filter": {"event": {"name": [event]}}}
    while True:
        for found in httpx.post(f"{server}/events/filter", json=body, timeout=30).json()["events"]:
            if found["payload"]["sentence"] == sentence:
                return dict(found)
        assert time.monotonic() < deadline, "the event never came"
        time.sleep(0.2)


def unknown_share(sentence: str) -> float:
    """The share of images unlike any in training, as the check says it."""
    found = re.search(r"([\d.]+) % unlike anything in training", sentence)
    assert found
    return float(found[1]) / 100


def test_an_alarm_is_an_event_and_so_is_that_all_is_quiet(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alike = np.random.default_rng(0).normal(size=(2, 80, 4)).astype(np.float32)
    monitor = Monitor(
        alpha=0.01, threshold=0.1, neighbours=5, max_images=100, max_unknown=0.2, retrain=False
    )
    quiet, alarm = (judge(alike[0], alike[1] + shift, monitor, 0, "champion") for shift in (0, 2))
    for found, name in ((quiet, "rootstock.drift.quiet"), (alarm, "rootstock.drift")):
        announce(found, "3")
        event = told(server, name, found.sentence)
        assert event["resource"]["prefect.resource.id"] == "rootstock.champion"
        assert event["resource"]["rootstock.version"] == "3"


def test_the_drift_check_is_quiet_on_more_of_the_same_and_raises_an_alarm_on_noise(
    registered: Any, server: str, folders: dict[str, Path]
) -> None:
    with inside(registered, registered.root):
        quiet = entrypoints.drift(str(folders["digits"]), return_state=True)
        alarm = entrypoints.drift(str(folders["noise"]), return_state=True)
        assert (quiet.name, alarm.name) == ("Quiet", "Drift")
        found = json.loads((registered.root / "reports/drift/drift.json").read_text())
        assert found["alarm"]
        assert "drift" in found["reasons"]
        assert unknown_share(quiet.message) < 0.1 < unknown_share(alarm.message)
        assert told(server, "rootstock.drift", found["sentence"])


def test_new_images_are_compared_with_the_champions_own_whatever_the_workspace_holds(
    registered: Any, folders: dict[str, Path]
) -> None:
    """Data of another experiment, of another size; and a pool that was ingested and not yet
    curated.
    """
    expected = registered.rootstock("drift", str(folders["digits"]))
    assert expected.code == 0, expected
    with holding(
        registered, "--to", "curate", "--set", "ingest.store_size=8", "--set", "curate.budget=50"
    ):
        assert registered.rootstock("drift", str(folders["digits"])).out == expected.out
    with holding(registered, "--to", "ingest", "--set", "ingest.source=synthetic:images=60"):
        assert registered.rootstock("drift", str(folders["digits"])).out == expected.out


def test_without_a_folder_the_images_that_were_predicted_are_checked(
    registered: Any, folders: dict[str, Path]
) -> None:
    assert (
        registered.rootstock("predict", "rootstock-classifier@champion", str(folders["noise"])).code
        == 0
    )
    done = registered.rootstock("drift")
    assert done.code == 1
    assert "ALARM" in done.out
    assert "drift" in done.err


def test_the_verification_hashes_what_is_behind_the_champion_and_fails_on_what_differs(
    registered: Any, server: str
) -> None:
    with inside(registered, registered.root):
        assert entrypoints.verification(return_state=True).name == "Verified"
        weights = registered.root / "models/finetuned/weights.safetensors"
        content = weights.read_bytes()
        weights.unlink()
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        state = entrypoints.verification(return_state=True)
        assert state.is_failed()
        assert "models/finetuned" in state.message


def test_deployments_made_before_the_move_find_their_flows() -> None:
    from flows import schedules
    from flows.deployments import entrypoints

    for name in ("pipeline", "drift", "verification", "experiment_worker", "stage_worker"):
        assert getattr(schedules, name) is getattr(entrypoints, name)
