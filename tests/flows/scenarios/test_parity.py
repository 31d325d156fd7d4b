"""Whatever answers, answers as the evaluated model does: ONNX, torch.export, timm's checkpoint,
MLflow, ``predict``, to 1e-4.
"""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from flows.adapters.mlflow.store import Store
from flows.registry import versions
from stages.core.image.pixel_store import PixelStore
from stages.core.models.artifact import load_classifier
from tests.support.in_folder import Inside

COUNT = 1000
CHAMPION = "rootstock-classifier@champion"


@pytest.fixture(scope="module")
def images(registered: Any) -> NDArray[np.uint8]:
    """A thousand images of the pool, (N, C, H, W)."""
    pixels: NDArray[np.uint8] = (
        PixelStore.open(registered.root / "data/pool/pixels").gather(np.arange(COUNT)).numpy()
    )
    return pixels


@pytest.fixture(scope="module")
def expected(registered: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the weights that were evaluated answer, (N, K)."""
    found: NDArray[np.float32] = (
        load_classifier(registered.root / "models/finetuned")
        .predict_proba(torch.from_numpy(images))
        .numpy()
    )
    assert found.std() > 0.1, "answers that are all alike would agree with anything"
    return found


def export(registered: Any, form: str, out: Path, reference: str = CHAMPION) -> Path:
    done = registered.rootstock("export", reference, "--format", form, str(out))
    assert done.code == 0 and str(out) in done.out, done
    return out


def test_the_evaluation_wrote_down_what_the_weights_answer(
    registered: Any, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    recorded = pd.read_parquet(registered.root / "reports/evaluate/predictions.parquet")
    ids = pd.read_parquet(registered.root / "data/curated/manifest.parquet", columns=["id"])["id"][
        :COUNT
    ]
    rows = {name: row for row, name in enumerate(ids)}
    known = recorded[recorded["id"].isin(rows.keys())]
    assert len(known) > 100
    np.testing.assert_allclose(
        np.stack(known["probabilities"].tolist()),
        expected[[rows[name] for name in known["id"]]],
        atol=1e-4,
    )


def test_onnx(
    registered: Any, images: NDArray[np.uint8], expected: NDArray[np.float32], tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        str(export(registered, "onnx", tmp_path / "m.onnx")), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(
        session.run(["probabilities"], {"images": images})[0], expected, atol=1e-4
    )
    encoder = "rootstock-encoder@finetune-best"
    session = runtime.InferenceSession(
        str(export(registered, "onnx", tmp_path / "e.onnx", encoder)),
        providers=["CPUExecutionProvider"],
    )
    from stages.core.models.artifact import load_encoder

    with Inside(registered.root):
        best = versions.resolve(Store.open(), encoder)
    features = (
        load_encoder(registered.root / best.tags["rootstock.path"])
        .encode(torch.from_numpy(images[:50]))
        .numpy()
    )
    np.testing.assert_allclose(
        session.run(["features"], {"images": images[:50]})[0], features, atol=1e-3, rtol=1e-4
    )


def test_torch_export(
    registered: Any, images: NDArray[np.uint8], expected: NDArray[np.float32], tmp_path: Path
) -> None:
    program = torch.export.load(export(registered, "torch", tmp_path / "m.pt2")).module()
    np.testing.assert_allclose(
        program(torch.from_numpy(images)).detach().numpy(), expected, atol=1e-4
    )


LOAD = """
import sys
import numpy as np, torch
from load import load
model, config = load()
assert not any(name.partition(".")[0] in ("stages", "flows", "mlflow") for name in sys.modules)
mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
images = torch.from_numpy(np.load(sys.argv[1]))
with torch.no_grad():
    np.save(sys.argv[2], torch.cat([model((part.float() / 255 - mean) / std) for part in images.split(100)]).numpy())
"""  # noqa: E501


def test_a_person_with_timm_alone(
    registered: Any, images: NDArray[np.uint8], expected: NDArray[np.float32], tmp_path: Path
) -> None:
    folder = export(registered, "timm", tmp_path / "timm")
    np.save(tmp_path / "images.npy", images)
    command = [
        sys.executable,
        "-c",
        LOAD,
        str(tmp_path / "images.npy"),
        str(tmp_path / "features.npy"),
    ]
    subprocess.run(command, cwd=folder, check=True)
    head = load_file(folder / "head.safetensors")
    logits = torch.from_numpy(np.load(tmp_path / "features.npy")) @ head["weight"].T + head["bias"]
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, atol=1e-4)


def test_mlflow(registered: Any, images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
    from flows.serving import predict as prediction

    with Inside(registered.root):
        model = prediction.load(versions.resolve(Store.open(), CHAMPION))
        arrays = [image.transpose(1, 2, 0) for image in images]
        for table in ({"pixels": arrays}, {"image": [encoded(image) for image in arrays]}):
            answers = model.predict(pd.DataFrame(table))
            shares = answers[[name for name in answers.columns if name.startswith("p.")]].to_numpy()
            np.testing.assert_allclose(shares, expected, atol=1e-4)
            assert (answers["probability"] == shares.max(axis=1)).all()


def test_predict(
    registered: Any, images: NDArray[np.uint8], expected: NDArray[np.float32], tmp_path: Path
) -> None:
    for number, image in enumerate(images):
        picture(image.transpose(1, 2, 0)).save(tmp_path / f"{number:04}.png")
    done = registered.rootstock(
        "predict", CHAMPION, str(tmp_path), "--csv", str(tmp_path / "out.csv")
    )
    assert done.code == 0, done
    table = pd.read_csv(tmp_path / "out.csv", dtype={"label": str})
    assert [Path(name).name for name in table["image"]] == [
        f"{number:04}.png" for number in range(COUNT)
    ]
    np.testing.assert_allclose(table.filter(regex=r"^p\.").to_numpy(), expected, atol=1e-4)


def test_what_is_no_file_is_named_and_not_read(
    registered: Any, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    picture(images[0].transpose(1, 2, 0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "c.png")
    done = registered.rootstock("predict", CHAMPION, str(tmp_path), str(tmp_path / "c.png"))
    assert done.code == 2 and len(done.out.splitlines()) == 1, done
    assert [line.rpartition("/")[2] for line in done.err.splitlines()[-2:]] == [
        f"{name}.png: not a regular file" for name in "bc"
    ]


def test_a_format_that_does_not_exist_is_refused_in_one_line(
    registered: Any, tmp_path: Path
) -> None:
    done = registered.rootstock("export", CHAMPION, "--format", "torchscript", str(tmp_path / "m"))
    assert done.code == 2 and "did you mean 'torch'? choose from onnx, torch, timm" in done.err


def picture(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def encoded(image: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    picture(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
