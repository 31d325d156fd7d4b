"""A classifier for other programs: ONNX, a ``torch.export`` program, and a checkpoint that timm loads. All take uint8 images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stages.core.errors import ConfigError
from stages.core.io import atomic_directory, atomic_file, write_json
from stages.core.model import Classifier
from stages.core.preprocess import Preprocess

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LARGEST_BATCH = 4096


class Portable(nn.Module):
    """Preprocessing, network and softmax in one graph: uint8 (N, C, H, W) in, probabilities (N, K) out."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of stored images."""
        probabilities: Tensor = self.network((images.float() / 255 - self.mean) / self.std).softmax(dim=1)
        return probabilities


def program(classifier: Classifier) -> ExportedProgram:
    """The classifier as a ``torch.export`` program for any batch size up to :data:`LARGEST_BATCH`."""
    preprocess = classifier.preprocess
    portable = Portable(classifier.network, preprocess).cpu().eval()
    example = torch.zeros(2, preprocess.channels, preprocess.size, preprocess.size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    return torch.export.export(portable, (example,), dynamic_shapes=({0: batch},))


def export_torch(classifier: Classifier, path: Path) -> None:
    """Write a ``.pt2`` archive; ``torch.export.load(path).module()(images)`` gives the probabilities."""
    with atomic_file(path) as temporary:
        renamed = temporary.with_suffix(".pt2")
        torch.export.save(program(classifier), renamed)
        renamed.replace(temporary)


def export_onnx(classifier: Classifier, path: Path) -> None:
    """Write an ONNX model with input ``images`` (batch, C, H, W) uint8 and output ``probabilities`` (batch, K).

    Raises:
        ConfigError: the packages for ONNX are not installed.
    """
    try:
        import onnxscript  # noqa: F401 -- torch finds it missing only halfway through
    except ImportError:
        raise ConfigError("export to ONNX needs onnx and onnxscript: install the extra 'export'") from None
    exported = torch.onnx.export(
        program(classifier), dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
    )
    assert exported is not None
    with atomic_file(path) as temporary:
        exported.save(str(temporary), external_data=False)


def export_timm(classifier: Classifier, directory: Path) -> None:
    """Write the backbone's weights under timm's own names, the head, and how to load both.

    Raises:
        ConfigError: the backbone is torchvision's, which timm does not know.
    """
    from safetensors.torch import save_file

    backbone = classifier.network.backbone
    if backbone.name.startswith("torchvision:"):
        raise ConfigError(f"{backbone.name} is no timm model: export it to ONNX or torch.export")
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in backbone.body.state_dict().items()}
    head = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in classifier.network.head.state_dict().items()}
    preprocess = classifier.preprocess
    config = {
        "architecture": backbone.name,
        "num_classes": 0,
        "num_features": backbone.num_features,
        "in_chans": preprocess.channels,
        "input_size": [preprocess.channels, preprocess.size, preprocess.size],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "label_names": classifier.classes,
    }
    with atomic_directory(directory) as temporary:
        save_file(weights, temporary / "model.safetensors")
        save_file(head, temporary / "head.safetensors")
        write_json(temporary / "config.json", config)
