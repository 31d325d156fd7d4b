"""Every exported form answers as the classifier does, to 1e-4, at any batch size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from stages.core.backbones import create_backbone
from stages.core.classifier import with_head
from stages.core.errors import ConfigError
from stages.core.export import export_onnx, export_timm, export_torch
from stages.core.model import Classifier, Encoder
from stages.core.preprocess import Preprocess
from stages.core.probes import LinearProbe

IMAGES = torch.randint(0, 256, (1000, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    backbone = create_backbone("test_efficientnet", 1, 16, 0)
    rng = np.random.default_rng(0)
    preprocess = Preprocess(size=16, channels=1, mean=(0.5,), std=(0.25,))
    features = Encoder(backbone, preprocess, {}).encode(IMAGES).numpy()
    weight = rng.normal(size=(3, backbone.num_features)).astype(np.float32)
    weight /= (features @ weight.T).std(axis=0)[:, None]
    probe = LinearProbe(weight, -(features @ weight.T).mean(axis=0), 1.0, 0.0)
    return Classifier(with_head(backbone, 3, probe), preprocess, {"classes": ["a", "b", "c"]})


def test_onnx_agrees_on_a_thousand_images(classifier: Classifier, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    export_onnx(classifier, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    answers = session.run(["probabilities"], {"images": IMAGES.numpy()})[0]
    expected = classifier.predict_proba(IMAGES).numpy()
    assert expected.std() > 0.05
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    np.testing.assert_allclose(session.run(None, {"images": IMAGES[:1].numpy()})[0], expected[:1], atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_the_exported_program_agrees_on_a_thousand_images(classifier: Classifier, tmp_path: Path) -> None:
    export_torch(classifier, tmp_path / "model.pt2")
    answers = torch.export.load(tmp_path / "model.pt2").module()(IMAGES).detach().numpy()
    np.testing.assert_allclose(answers, classifier.predict_proba(IMAGES).numpy(), atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt2"]


def test_a_person_with_timm_alone_gets_the_same_features(tmp_path: Path) -> None:
    backbone = create_backbone("resnet10t", 3, 96, 0)
    preprocess = Preprocess(size=96, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    whole = Classifier(with_head(backbone, 2), preprocess, {"classes": ["a", "b"]})
    export_timm(whole, tmp_path / "timm")
    config = json.loads((tmp_path / "timm/config.json").read_text())
    model = timm.create_model(config["architecture"], num_classes=0, in_chans=config["in_chans"]).eval()
    model.load_state_dict(load_file(tmp_path / "timm/model.safetensors"))
    images = torch.randint(0, 256, (4, 3, 96, 96), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad():
        features = model((images.float() / 255 - 0.5) / 0.25).numpy()
    np.testing.assert_allclose(features, whole.encoder.encode(images).numpy(), atol=1e-4)


def test_torchvision_networks_are_no_timm_checkpoints(tmp_path: Path) -> None:
    backbone = create_backbone("torchvision:squeezenet1_1", 3, 64, 0)
    preprocess = Preprocess(size=64, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(ConfigError, match="no timm model"):
        export_timm(Classifier(with_head(backbone, 2), preprocess, {"classes": ["a", "b"]}), tmp_path / "timm")
