"""Supervised training of a classifier, the same for ``finetune`` and for the rows ``evaluate``
compares it with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.core.compute import device
from stages.core.errors import ConfigError
from stages.core.events import Tracker
from stages.core.image.backbones import Backbone
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.engine import augment
from stages.core.metrics.linear_probe import LinearProbe
from stages.core.metrics.representation import Array, Labels
from stages.core.models.artifact import LinearClassifier
from stages.core.random import generator
from stages.core.training.batches import Order
from stages.core.training.checkpoint import Identity, Resume
from stages.core.training.loop import History, Recipe, fit

if TYPE_CHECKING:
    from stages.core.data.manifest import Manifest

MOST_IMAGES = 64_000
"""Images that the largest set is shown in a first training."""
SMOOTHING = 0.1
BATCHES = ((2_000, 32), (8_000, 64))
"""Labelled images up to which ``batch_size: auto`` is so many; 128 above."""


def resolve_batch(batch_size: int | str, images: int) -> int:
    """A number of images, or ``auto`` sized to the number of labelled images; never more than there
    are.
    """
    if isinstance(batch_size, int):
        return min(batch_size, images)
    return min(next((size for most, size in BATCHES if images < most), 128), images)


def resolve_steps(images: int, batch_size: int, passes: int, fewest: int) -> int:
    """Steps of a first training: ``passes`` over the labelled images, at least ``fewest`` steps, at
    most 64,000 images shown.

    Whether they reach the plateau is measured by training twice as long, see
    ``stages/finetune/tuning.py``.
    """
    shown = min(max(passes * images, fewest * batch_size), max(MOST_IMAGES, 4 * images))
    return max(1, round(shown / batch_size))


def labelled(
    manifest: Manifest, split: str, at_least_classes: int = 1
) -> tuple[NDArray[np.int64], Labels]:
    """Rows and class numbers of the labelled images of a split.

    Raises:
        ConfigError: there are none, or fewer classes than needed; the message names the parameter
            that decides it.
    """
    manifest.require_labels()
    rows = manifest.labelled_rows(split)
    labels = manifest.labels(rows)
    deciding = {
        "train": "labelled_fraction",
        "val": "validation_fraction",
        "test": "test_fraction",
    }[split]
    if not len(rows):
        raise ConfigError(
            f"no {split} image has a label: raise ingest.{deciding} (or label more images)"
        )
    found = np.unique(labels)
    if len(found) < at_least_classes:
        name = manifest.classes[found[0]]
        raise ConfigError(
            f"every labelled {split} image is of the class {name!r}: telling classes apart needs"
            " two or more"
        )
    return rows, labels


class LabelledBatches:
    """Augmented, normalised images with their labels and the weights of those, for the training
    loop: a function of seed and step.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Labels,
        ops: Sequence[dict[str, Any]],
        preprocess: Preprocess,
        batch_size: int,
        seed: int,
        weights: Tensor | None = None,
    ) -> None:
        self.images, self.ops, self.preprocess, self.seed = (
            images.to(device()),
            tuple(ops),
            preprocess,
            seed,
        )
        self.labels = torch.from_numpy(labels).to(device())
        every = torch.ones(len(images)) if weights is None else weights
        self.weights = every.to(device(), torch.float32)
        self.order = Order(len(images), batch_size, seed)
        self.size = self.order.batch_size

    def __call__(self, step: int, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Images (n, C, H, W) float32, labels (n,) and weights (n,) of some rows of the batch of
        ``step``.
        """
        picked = self.order(step)[rows].to(self.images.device)
        draw = generator(self.seed, "supervised views", step, rows.start)
        views = self.preprocess.normalise(augment(self.ops, self.images[picked], draw))
        laid = views.contiguous(memory_format=torch.channels_last)
        return laid, self.labels[picked], self.weights[picked]

    def ids(self, step: int) -> list[str]:
        """Positions of the images of a step."""
        return [str(position) for position in self.order(step).tolist()]


class Supervised(nn.Module):
    """Cross-entropy with label smoothing for the training loop."""

    def __init__(self, network: LinearClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """``loss``, its mean weighted, and ``accuracy`` on the batch."""
        images, labels, weights = batch
        logits = self.network(images).float()
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        each = nn.functional.cross_entropy(
            logits, labels, label_smoothing=SMOOTHING, reduction="none"
        )
        loss = (each * weights).sum() / weights.sum().clamp_min(1e-6)
        return {"loss": loss, "accuracy": accuracy}


def with_head(
    backbone: Backbone, classes: int, probe: LinearProbe | None = None
) -> LinearClassifier:
    """A classifier on the backbone; a probe as its head makes it as good as the probe before the
    first step.

    "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution" (2022).
    """
    network = LinearClassifier(backbone, classes)
    if probe is not None:
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(probe.weight))
            network.head.bias.copy_(torch.from_numpy(probe.bias))
    return network


def temperature(logits: Array, labels: Labels) -> float:
    """What to divide logits (n, K) by so that confidence means accuracy on these images.

    "On Calibration of Modern Neural Networks" (2017). Found by golden section on its logarithm,
    between 1/20 and 20.
    """
    from scipy.optimize import minimize_scalar

    double = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = double / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(
            (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean()
        )

    found = minimize_scalar(
        loss, bounds=(-np.log(20), np.log(20)), method="bounded", options={"xatol": 1e-4}
    )
    return float(np.exp(found.x))


def cool(network: LinearClassifier, degrees: float) -> None:
    """Fold a temperature into the head, in place: predictions stay, confidences change."""
    with torch.no_grad():
        network.head.weight.div_(degrees)
        network.head.bias.div_(degrees)


class _Untold(Tracker):
    """For runs that are one of many inside a stage: their steps are nobody's curve."""

    def __init__(self) -> None:
        super().__init__("")

    def _emit(self, kind: str, **fields: Any) -> None:
        pass


class _Unsaved(Resume):
    """For runs of seconds: a killed one starts again."""

    def __init__(self) -> None:
        super().__init__(Identity({}, {}))

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Nothing."""

    def load(self) -> None:
        """Nothing."""


def train(
    network: LinearClassifier,
    batches: LabelledBatches,
    recipe: Recipe,
    resume: Resume | None,
    track: Tracker | None,
) -> History:
    """Fully fine-tune in place; without ``resume`` and ``track`` the run leaves no trace."""
    return fit(Supervised(network), batches, recipe, resume or _Unsaved(), track or _Untold())
