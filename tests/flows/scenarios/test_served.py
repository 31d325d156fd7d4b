"""``mlflow models serve`` on the registered champion: a real server, asked over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.adapters.prefect.server import free_port
from flows.project.environment import QUIET
from stages.core.image.pixel_store import PixelStore
from stages.core.models.artifact import load_classifier
from tests.support.in_folder import answers

MODEL = "models:/rootstock-classifier@champion"


@pytest.fixture(scope="module")
def address(registered: Any) -> Iterator[str]:
    """The server as a user starts it, on a port of its own."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        MODEL,
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    uri = f"sqlite:///{registered.root / 'mlruns/mlflow.db'}"
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MLFLOW_", "PYTHONPATH"))
    }
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # noqa: PTH120
    environment = {**kept, **QUIET, "MLFLOW_TRACKING_URI": uri, "PATH": path}
    log = (registered.root.parent / "served.log").open("w+")
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=registered.root.parent,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while not answers(f"http://127.0.0.1:{port}/ping"):
            assert process.poll() is None and time.monotonic() < deadline, (
                registered.root.parent / "served.log"
            ).read_text()
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def ask(address: str, column: str, images: list[Any]) -> list[dict[str, Any]]:
    body = json.dumps(
        {"dataframe_split": {"columns": [column], "data": [[image] for image in images]}}
    ).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())["predictions"]
        return found


def refused(address: str, column: str, images: list[Any]) -> str:
    with pytest.raises(HTTPError) as caught:
        ask(address, column, images)
    assert caught.value.code == 400
    body = json.loads(caught.value.read())
    assert "stack_trace" not in body
    return str(body["message"])


def encoded(image: np.ndarray, form: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, form, **({"quality": 95} if form == "JPEG" else {}))
    return base64.b64encode(buffer.getvalue()).decode()


def test_files_and_arrays_are_answered_as_the_evaluated_model_does(
    address: str, registered: Any
) -> None:
    import torch

    pixels = PixelStore.open(registered.root / "data/pool/pixels").gather(np.arange(30))
    model = load_classifier(registered.root / "models/finetuned")
    expected = model.predict_proba(torch.as_tensor(pixels)).numpy()
    images = pixels.numpy()
    for column, sent in {
        "image": [encoded(image, "PNG") for image in images],
        "pixels": [image.transpose(1, 2, 0).tolist() for image in images],
    }.items():
        table = pd.DataFrame(ask(address, column, sent))
        np.testing.assert_allclose(
            table[[f"p.{name}" for name in model.classes]].to_numpy(), expected, atol=1e-4
        )
        assert table["label"].tolist() == [
            model.classes[place] for place in expected.argmax(axis=1)
        ]
        np.testing.assert_allclose(table["probability"], expected.max(axis=1), atol=1e-4)
    jpeg = pd.DataFrame(ask(address, "image", [encoded(image, "JPEG") for image in images]))
    assert (jpeg["label"] == table["label"]).mean() > 0.9, (
        "JPEG changes pixels a little, not what is on them"
    )


def test_what_it_cannot_use_is_refused_with_the_reason(address: str) -> None:
    assert "has shape (3, 5, 1); this model takes uint8 (16, 16, 1)" in refused(
        address, "pixels", [np.zeros((3, 5, 1), int).tolist()]
    )
    assert "float" in refused(address, "pixels", [np.full((16, 16, 1), 0.5).tolist()])
    assert "not base64" in refused(address, "image", ["this is no base64!"])
    assert "not an image" in refused(
        address, "image", [base64.b64encode(b"nothing to see").decode()]
    )
    assert "the table has no row" in refused(address, "image", [])
    assert ask(address, "pixels", [np.zeros((16, 16, 1), int).tolist()]), (
        "it still answers after all that"
    )
