"""Weights under the wrappings of other programs give the same features as the network itself."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from stages.core.errors import ConfigError, DataError
from stages.core.image.backbones import create_backbone
from stages.core.models.foreign_weights import load_into

State = dict[str, Tensor]
SIZE = 32


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def other(state: State) -> State:
    """A second copy of the network that must not be the one that is taken."""
    return {
        name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }


def sequential(state: State) -> State:
    """Names of ``Sequential(*resnet.children())``."""
    numbers = {"conv1": "0", "bn1": "1", **{f"layer{1 + i}": str(4 + i) for i in range(4)}}
    parts = ((*name.partition("."), tensor) for name, tensor in state.items())
    return {f"backbone.{numbers[first]}.{rest}": tensor for first, _, rest, tensor in parts}


RESNET: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "with a head": lambda s: {**s, "fc.weight": torch.ones(10, 512), "fc.bias": torch.ones(10)},
    "state_dict and module": lambda s: {"epoch": 3, "state_dict": prefixed(s, "module.")},
    "MoCo v2": lambda s: {
        "arch": "resnet18",
        "state_dict": {
            **prefixed(other(s), "module.encoder_k."),
            **prefixed(s, "module.encoder_q."),
            "module.queue": torch.ones(128, 64),
        },
    },
    "MoCo v3": lambda s: {
        "state_dict": {
            **prefixed(other(s), "module.momentum_encoder."),
            **prefixed(s, "module.base_encoder."),
        }
    },
    "DINO": lambda s: {
        "student": prefixed(other(s), "module.backbone."),
        "teacher": {**prefixed(s, "backbone."), "head.mlp.0.weight": torch.ones(4, 4)},
        "args": Namespace(arch="resnet18"),
    },
    "lightly, a Sequential": lambda s: {"state_dict": sequential(s)},
    "solo-learn": lambda s: {
        "state_dict": {
            **prefixed(s, "backbone."),
            **prefixed(other(s), "momentum_backbone."),
            "projector.0.weight": torch.ones(4, 4),
        }
    },
    "encoder": lambda s: {"state_dict": prefixed(s, "encoder.")},
}
TRANSFORMER: dict[str, Callable[[State], Any]] = {
    "MAE": lambda s: {
        "model": {**s, "mask_token": torch.ones(1, 1, 4), "decoder_embed.weight": torch.ones(4, 4)}
    },
    "DINOv2": lambda s: {
        "teacher": {
            "backbone." + name.replace("blocks.", "blocks.0."): tensor for name, tensor in s.items()
        }
    },
    "I-JEPA": lambda s: {
        "encoder": prefixed(other(s), "module."),
        "target_encoder": prefixed(s, "module."),
    },
}
CASES = [("resnet18", name) for name in RESNET] + [("test_vit", name) for name in TRANSFORMER]


def theirs(name: str, **settings: Any) -> Any:
    """A network of timm's with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        options = {"num_classes": 0, "in_chans": 3, **settings}
        return timm.create_model(name, pretrained=False, **options).eval()


@pytest.mark.parametrize(("network", "wrapping"), CASES)
def test_every_wrapping_gives_the_features_of_the_network(
    network: str, wrapping: str, tmp_path: Path
) -> None:
    sizes = {"img_size": SIZE} if network == "test_vit" else {}
    original = theirs(network, **sizes)
    torch.save({**RESNET, **TRANSFORMER}[wrapping](original.state_dict()), tmp_path / "w.pth")
    backbone = create_backbone(network, 3, SIZE, 0, "standard").eval()
    fit = load_into(backbone, tmp_path / "w.pth", 1.0)
    images = torch.linspace(-2, 2, 2 * 3 * SIZE * SIZE).view(2, 3, SIZE, SIZE).sin()
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), original(images), atol=1e-6, rtol=0)
    assert (fit.fraction, fit.missing, fit.adapted) == (1.0, (), ())


def test_a_grey_image_gets_the_answer_of_three_equal_channels(tmp_path: Path) -> None:
    original = theirs("resnet18")
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    backbone = create_backbone("resnet18", 1, SIZE, 0, "standard").eval()
    fit = load_into(backbone, tmp_path / "w.safetensors", 1.0)
    images = torch.linspace(-1, 1, 2 * SIZE * SIZE).view(2, 1, SIZE, SIZE)
    with torch.inference_mode():
        expected = original(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-5)
    assert fit.adapted == ("conv1.weight",)


def test_positions_and_patches_are_fitted_to_another_size(tmp_path: Path) -> None:
    save_file(theirs("test_vit", img_size=160).state_dict(), tmp_path / "w.safetensors")
    backbone = create_backbone("test_vit", 1, SIZE, 0, "small")  # patches of 4 instead of 16
    fit = load_into(backbone, tmp_path / "w.safetensors", 1.0)
    assert set(fit.adapted) == {"pos_embed", "patch_embed.proj.weight"}


def test_a_file_for_another_network_is_refused_with_names_of_both(tmp_path: Path) -> None:
    save_file(theirs("test_efficientnet").state_dict(), tmp_path / "w.safetensors")
    backbone = create_backbone("resnet18", 3, SIZE, 0, "standard")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(ConfigError, match=r"conv1\.weight.*Not in the network: blocks\.0"):
        load_into(backbone, tmp_path / "w.safetensors", 0.9)
    assert all(torch.equal(before[name], now) for name, now in backbone.state_dict().items())


class Stranger:
    """An object that only running code could bring back."""


def test_a_torch_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "config": Stranger()}, tmp_path / "w.pth")
    backbone = create_backbone("test_efficientnet", 3, SIZE, 0)
    with pytest.raises(DataError, match="Stranger beside tensors"):
        load_into(backbone, tmp_path / "w.pth", 0.9)
    (tmp_path / "w.txt").write_text("no weights")
    with pytest.raises(DataError, match="neither safetensors nor a torch file"):
        load_into(backbone, tmp_path / "w.txt", 0.9)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = theirs("resnet18").state_dict()
    state["bn1.bias"][0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"bn1\.bias hold numbers that are not finite"):
        load_into(create_backbone("resnet18", 3, SIZE, 0), tmp_path / "w.safetensors", 0.5)
