"""A small network taught for a few minutes on the training images of the target, by contrast of two
views.

A Simple Framework for Contrastive Learning of Visual Representations (2020), as Coreset Sampling
from Open-Set for Fine-Grained Self-Supervised Learning (2023) prepares its encoder. ``self`` takes
about 400 steps, ``self:30`` thirty epochs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stages.core import compute
from stages.core.errors import ConfigError
from stages.core.events import Tracker
from stages.core.image.backbones import Backbone, create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.engine import ViewEngine, Views
from stages.core.image.views.policy import Policy
from stages.core.losses.contrastive import nt_xent
from stages.core.models.artifact import load_encoder, save_model
from stages.core.random import generator
from stages.core.training.batches import Pixels, ViewBatches
from stages.core.training.checkpoint import Identity, Resume, digest
from stages.core.training.loop import Recipe, fit
from stages.core.views.plan import two_views
from stages.curate.encoder import Encode, Source
from stages.curate.network_encoder import as_encode

VERSION = 1
BACKBONE = "test_resnet"
STEPS, BATCH, LEAST = 400, 128, 32
PROJECTION = 128
TEMPERATURE = 0.2
LEARNING_RATE = 0.002


class _Untold(Tracker):
    """The loss of this encoder is nobody's metric; the line of progress is enough."""

    def _emit(self, kind: str, **fields: Any) -> None:
        pass


class Contrast(nn.Module):
    """A backbone and a projector; two views of an image attract, the other images of the batch
    repel.
    """

    def __init__(self, backbone: Backbone, seed: int) -> None:
        super().__init__()
        width = backbone.num_features
        self.backbone = backbone
        self.projector = nn.Sequential(
            _linear(width, width, seed, 0), nn.ReLU(), _linear(width, PROJECTION, seed, 1)
        )

    def forward(self, views: Views) -> dict[str, Tensor]:
        """``{"loss": …}``."""
        first, second = self.projector(self.backbone(views.images)).chunk(2)
        return {"loss": nt_xent(first, second, TEMPERATURE)}


def identity(source: Source, argument: str) -> list[str]:
    """The images it is taught on, in order, and the seed."""
    return [digest(_ids(source)), str(source.seed), str(_epochs(argument))]


def prepare(source: Source, argument: str) -> Encode:
    """Teach it, or read what was taught on these images before.

    Raises:
        ConfigError: fewer than 32 images to teach it on.
    """
    name = digest([VERSION, BACKBONE, list(source.store.shape[1:]), identity(source, argument)])[
        :32
    ]
    folder = source.cache / f"self-{name}"
    if not folder.is_dir():
        if len(source.own) < LEAST:
            raise ConfigError(
                f"curate.encoder: self: {len(source.own)} images are too few to learn from; use"
                " scattering"
            )
        compute.deterministic()
        backbone, preprocess = teach(source, _epochs(argument))
        save_model(folder, backbone, {"method": "curate.encoder self"}, preprocess)
    return as_encode(load_encoder(folder), source, "self")


def teach(source: Source, epochs: int | None) -> tuple[Backbone, Preprocess]:
    """Train on ``source.own`` for some epochs, or for about 400 steps."""
    rows = source.own
    preprocess = Preprocess.from_pixels(source.store, rows)
    backbone = create_backbone(BACKBONE, preprocess.channels, preprocess.size, source.seed)
    engine = ViewEngine(policy(preprocess.channels), two_views(), preprocess)
    batches = ViewBatches(
        Pixels(source.store, rows), engine, min(BATCH, len(rows)), source.seed, _ids(source)
    )
    steps = STEPS if epochs is None else epochs * batches.steps_per_epoch
    recipe = Recipe("curate: self", source.seed, steps, LEARNING_RATE, weight_decay=0.05)
    known = {
        "steps": steps,
        "batch": batches.size,
        "backbone": BACKBONE,
        "version": VERSION,
        "seed": source.seed,
    }
    resume = Resume(
        Identity(known, {"images": digest(_ids(source)), "shape": str(source.store.shape[1:])})
    )
    fit(Contrast(backbone, source.seed), batches, recipe, resume, _Untold("curate"))
    resume.clear()
    return backbone, preprocess


def policy(channels: int) -> Policy:
    """Crops for all images; flips and colour for colour ones, since a mirrored letter is another
    letter.
    """
    crop = {"op": "crop", "scale": (0.3, 1.0)}
    view = (
        (crop, {"op": "flip"}, {"op": "jitter"}, {"op": "grey"})
        if channels == 3
        else (crop, {"op": "jitter"})
    )
    return Policy(name="curate", why="a short look at the target", views=(view,), local=view)


def _epochs(argument: str) -> int | None:
    if not argument:
        return None
    if not argument.isdecimal() or not int(argument):
        raise ConfigError(
            f"curate.encoder: self:{argument}: after the colon stands a number of epochs, for"
            " example self:30"
        )
    return int(argument)


def _ids(source: Source) -> list[str]:
    ids: list[str] = source.manifest.frame["id"].iloc[source.own].tolist()
    return ids


def _linear(inner: int, outer: int, seed: int, number: int) -> nn.Linear:
    layer = nn.Linear(inner, outer, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.uniform_(
            -(inner**-0.5), inner**-0.5, generator=generator(seed, "curate.self", number)
        )
        layer.bias.zero_()
    return layer
