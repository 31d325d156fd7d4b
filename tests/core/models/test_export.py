"""What is exported loads where this project is not installed. Parity on a thousand images:
tests/flows/scenarios/test_parity.py.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.core.errors import ConfigError
from stages.core.image.backbones import create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.models.artifact import Classifier, Encoder
from stages.core.models.export import export_timm, export_torch
from stages.core.transfer.supervised import with_head


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [
        ("resnet10t", 3, 96),  # as timm has it
        ("resnet10t", 1, 16),  # another stem, no pooling
        ("resnet18", 3, 32),
        ("vit_tiny_patch16_224", 3, 32),  # other patches
    ],
)
def test_a_person_with_timm_alone_gets_the_same_features(
    name: str, channels: int, size: int, tmp_path: Path
) -> None:
    backbone = create_backbone(name, channels, size, 0)
    preprocess = Preprocess(
        size=size, channels=channels, mean=(0.4,) * channels, std=(0.25,) * channels
    )
    whole = Classifier(with_head(backbone, 2), preprocess, {"classes": ["a", "b"]})
    export_timm(whole, tmp_path / "timm")
    module = importlib.util.spec_from_file_location("load", tmp_path / "timm/load.py")
    assert module is not None and module.loader is not None
    load = importlib.util.module_from_spec(module)
    module.loader.exec_module(load)
    model, config = load.load()
    assert config["label_names"] == ["a", "b"] and config["architecture"] == name
    images = torch.randint(
        0, 256, (4, channels, size, size), generator=torch.Generator().manual_seed(0)
    ).to(torch.uint8)
    with torch.no_grad():
        features = model((images.float() / 255 - 0.4) / 0.25).numpy()
    np.testing.assert_allclose(features, whole.encoder.encode(images).numpy(), atol=1e-4)


def test_an_encoder_has_no_head_to_export(tmp_path: Path) -> None:
    preprocess = Preprocess(size=16, channels=1, mean=(0.5,), std=(0.25,))
    encoder = Encoder(create_backbone("test_efficientnet", 1, 16, 0), preprocess, {})
    export_timm(encoder, tmp_path / "timm")
    assert sorted(file.name for file in (tmp_path / "timm").iterdir()) == [
        "config.json",
        "load.py",
        "model.safetensors",
    ]
    assert json.loads((tmp_path / "timm/config.json").read_text())["label_names"] == []
    export_torch(encoder, tmp_path / "one.pt2")
    program = torch.export.load(tmp_path / "one.pt2").module()
    for count in (1, 5):
        images = torch.randint(
            0, 256, (count, 1, 16, 16), generator=torch.Generator().manual_seed(count)
        ).to(torch.uint8)
        np.testing.assert_allclose(
            program(images).detach().numpy(), encoder.encode(images).numpy(), atol=1e-4, rtol=1e-4
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.pt2", "timm"], (
        "no temporary file stays"
    )


def test_torchvision_networks_are_no_timm_checkpoints(tmp_path: Path) -> None:
    backbone = create_backbone("torchvision:squeezenet1_1", 3, 64, 0)
    preprocess = Preprocess(size=64, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(ConfigError, match="no timm model"):
        export_timm(
            Classifier(with_head(backbone, 2), preprocess, {"classes": ["a", "b"]}),
            tmp_path / "timm",
        )
