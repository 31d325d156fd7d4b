"""A model for other programs: ONNX, a ``torch.export`` program, and a checkpoint that timm loads.

A classifier answers uint8 images with probabilities, an encoder with features; preprocessing is
part of the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stages.core.errors import ConfigError
from stages.core.image.preprocess import Preprocess
from stages.core.io import atomic_directory, atomic_file, write_json, write_text
from stages.core.models.artifact import Classifier, Encoder
from stages.core.models.timm_checkpoint import LOADER, recipe

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LARGEST_BATCH = 4096


Exportable = Classifier | Encoder


class Portable(nn.Module):
    """Preprocessing and network in one graph: uint8 (N, C, H, W) in, probabilities (N, K) or
    features (N, D) out.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocess: Preprocess, softmax: bool) -> None:
        super().__init__()
        self.network, self.softmax = network, softmax
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The answer to stored images."""
        found: Tensor = self.network((images.float() / 255 - self.mean) / self.std)
        return found.softmax(dim=1) if self.softmax else found


def answer_name(model: Exportable) -> str:
    """What the output of an exported model is called."""
    return "probabilities" if isinstance(model, Classifier) else "features"


def program(model: Exportable) -> ExportedProgram:
    """The model as a ``torch.export`` program for any batch size up to :data:`LARGEST_BATCH`."""
    preprocess = model.preprocess
    network = model.network if isinstance(model, Classifier) else model.backbone
    portable = Portable(network, preprocess, softmax=isinstance(model, Classifier)).cpu().eval()
    example = torch.zeros(
        2, preprocess.channels, preprocess.size, preprocess.size, dtype=torch.uint8
    )
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    return torch.export.export(portable, (example,), dynamic_shapes=({0: batch},))


def export_torch(model: Exportable, path: Path) -> None:
    """Write a ``.pt2`` archive; ``torch.export.load(path).module()(images)`` gives the answer."""
    with atomic_file(path) as temporary:
        renamed = temporary.with_suffix(".pt2")
        torch.export.save(program(model), renamed)
        renamed.replace(temporary)


def export_onnx(model: Exportable, path: Path) -> None:
    """Write an ONNX model: ``images`` (batch, C, H, W) uint8 in, ``probabilities`` (batch, K) or
    ``features`` (batch, D) out.

    Raises:
        ConfigError: the packages for ONNX are not installed.
    """
    try:
        import onnxscript  # noqa: F401 -- torch finds it missing only halfway through
    except ImportError:
        raise ConfigError(
            "export to ONNX needs onnx and onnxscript: install the extra 'export'"
        ) from None
    exported = torch.onnx.export(
        program(model),
        dynamo=True,
        input_names=["images"],
        output_names=[answer_name(model)],
        verbose=False,
    )
    assert exported is not None
    with atomic_file(path) as temporary:
        exported.save(str(temporary), external_data=False)


def export_timm(model: Exportable, directory: Path) -> None:
    """Write the backbone's weights under timm's names, a classifier's head, the configuration, and
    ``load.py``: needs timm alone.

    Raises:
        ConfigError: the backbone is torchvision's, which timm does not know.
    """
    from safetensors.torch import save_file

    backbone = model.network.backbone if isinstance(model, Classifier) else model.backbone
    if backbone.name.startswith("torchvision:"):
        raise ConfigError(f"{backbone.name} is no timm model: export it to ONNX or torch.export")
    preprocess = model.preprocess
    config = {
        "architecture": backbone.name,
        "num_classes": 0,
        "num_features": backbone.num_features,
        "in_chans": preprocess.channels,
        "input_size": [preprocess.channels, preprocess.size, preprocess.size],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        **recipe(backbone),
        "label_names": model.classes if isinstance(model, Classifier) else [],
    }
    with atomic_directory(directory) as temporary:
        save_file(_weights(backbone.body), temporary / "model.safetensors")
        if isinstance(model, Classifier):
            save_file(_weights(model.network.head), temporary / "head.safetensors")
        write_json(temporary / "config.json", config)
        write_text(temporary / "load.py", LOADER)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in module.state_dict().items()
    }
