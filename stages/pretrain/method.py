"""What an objective is: a module that takes views and returns losses. One file each in
``stages/pretrain/methods/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from stages.core import plugins
from stages.core.errors import ConfigError
from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.params import explain
from stages.core.random import generator
from stages.core.views.plan import ViewPlan, two_views

METHODS = "stages.pretrain.methods"
Losses = dict[str, Tensor]
M = TypeVar("M", bound="type[Method]")


class MethodSettings(BaseModel):
    """A method's own settings; anything else is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(nn.Module):
    """Base of every objective.

    A method builds its heads in ``__init__`` (through :func:`mlp`, so that weights have an
    address), says in ``views`` what the engine must hand over, and returns in ``forward`` a
    dictionary with ``loss`` and other scalars to log.
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    views: ClassVar[ViewPlan]
    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__()
        self.backbone, self.settings, self.images, self.seed = backbone, settings, images, seed
        self.spread = torch.zeros(())
        self.register_forward_hook(_with_spread)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``(N, D)`` of normalised views; notes how far they spread, for the log."""  # noqa: E501
        features: Tensor = self.backbone(images)
        with torch.no_grad():
            self.spread = embedding_spread(features.float())
        return features

    def forward(self, views: Views) -> Losses:
        """``{"loss": …, other scalars to log}``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def after_step(self, progress: float) -> None:
        """What follows an update: moving averages, queues. ``progress`` runs from 0 to 1."""


class Projected(Method):
    """An objective on a projector's output for two views; its settings say ``projector``, the
    widths after the features'.
    """

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.projector = mlp((backbone.num_features, *settings.projector), seed, "projector")

    def embeddings(self, views: Views) -> tuple[Tensor, Tensor]:
        """``(N, D)`` of each view; both go through in one pass, so that batch norm sees them
        together.
        """
        first, second = self.projector(self.features(views.images)).chunk(2)
        return first, second


def _with_spread(module: Method, _: object, losses: Losses) -> Losses:
    return {**losses, "embedding_std": module.spread}


def method(name: str, paper: str) -> Callable[[M], M]:
    """Give an objective its name (that of its file) and the paper it comes from."""

    def decorate(kind: M) -> M:
        kind.name, kind.paper = name, paper
        return kind

    return decorate


def method_class(name: str) -> type[Method]:
    """The objective that the file ``stages/pretrain/methods/<name>.py`` holds."""
    plugins.check(METHODS, name, key="pretrain.method")
    module = plugins.load(METHODS, name)
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Method) and kind.name == name
    ]
    if len(kinds) != 1:
        raise ConfigError(
            f"{module.__file__} must hold one class decorated with @method({name!r}, …)"
        )
    return kinds[0]


def check_settings(kind: type[Method], values: Mapping[str, Any]) -> MethodSettings:
    """A method's typed settings; a wrong key or value is one line."""
    try:
        return kind.Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            explain(error, f"pretrain.settings ({kind.name})", kind.Settings)
        ) from None


def embedding_spread(features: Tensor) -> Tensor:
    """Mean standard deviation of L2-normalised features ``(N, D)``, times √D: near 1 when they use
    the sphere, 0 collapsed.
    """
    unit = nn.functional.normalize(features, dim=1)
    spread: Tensor = unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5
    return spread


def mlp(sizes: tuple[int, ...], seed: int, *path: object, last_norm: bool = False) -> nn.Sequential:
    """Linear, batch norm, ReLU, …, linear; ``sizes`` from input to output. Weights are a function
    of seed and path.
    """
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(sizes)):
        last = number == len(sizes) - 2
        layers.append(linear(inner, outer, seed, *path, number, bias=last and not last_norm))
        if not last:
            layers += [nn.BatchNorm1d(outer), nn.ReLU(inplace=True)]
        elif last_norm:
            layers.append(nn.BatchNorm1d(outer, affine=False))
    return nn.Sequential(*layers)


def linear(inner: int, outer: int, seed: int, *path: object, bias: bool = True) -> nn.Linear:
    """A linear layer with weights drawn at an address (Kaiming uniform, as torch's own), zero bias."""  # noqa: E501
    layer = nn.Linear(inner, outer, bias=bias, device="meta").to_empty(device="cpu")
    bound = inner**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator(seed, "head", *path))
        if bias:
            layer.bias.zero_()
    return layer
