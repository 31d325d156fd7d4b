"""What an objective is: a module that takes views and returns losses. One file each in
``stages/pretrain/methods/``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from stages.core import plugins
from stages.core.errors import ConfigError
from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.models.heads import mlp
from stages.core.training.distributed import rank
from stages.core.training.teacher import Teacher, rising
from stages.core.validation_errors import explain
from stages.core.views.plan import ViewPlan, two_views

METHODS = "stages.pretrain.methods"
Losses = dict[str, Tensor]
Auto = Annotated[int, Field(ge=2)] | Literal["auto"]
"""A size that follows the number of images unless it is given."""
M = TypeVar("M", bound="type[Method]")


class MethodSettings(BaseModel):
    """A method's own settings; anything else is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(nn.Module):
    """Base of every objective.

    A method builds its heads in ``__init__`` (from :mod:`stages.core.models.heads`, so that weights
    have an address), says in ``views`` what the engine must hand over, and returns in ``forward`` a
    dictionary with ``loss`` and other scalars to log.

    Attributes:
        kind: family of objectives, such as ``contrastive``. needs: what it takes beside images:
        ``tokens`` (a transformer), ``maps`` (feature maps), ``labels``. modalities: kinds of data
        it learns from. views: what the engine hands over; ``__init__`` may narrow it (masks on the
        backbone's grid).
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    views: ViewPlan
    projector: nn.Module
    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    modalities: ClassVar[frozenset[str]] = frozenset({"image"})

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__()
        self.backbone, self.settings, self.images, self.seed = backbone, settings, images, seed
        self.spread = torch.zeros(())
        self.projection: Losses = {}
        if "tokens" in self.needs:
            self.views = replace(self.views, patches=backbone.grid)
        self.register_forward_hook(_with_spread)

    def learn_labels(self, labels: Tensor) -> None:
        """Take the class index ``(images,)`` of every pretraining image, -1 where it has none;
        called when ``needs`` says so.
        """

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``(N, D)`` of normalised views; notes how far they spread, for the
        log.
        """
        features: Tensor = self.backbone(images)
        return self.noted(features)

    def noted(self, features: Tensor) -> Tensor:
        """The same features ``(N, D)``; notes how far they spread, for the log."""
        with torch.no_grad():
            self.spread = embedding_spread(features.float())
        return features

    def projected(self, images: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` of images by the method's ``projector``."""
        return self.embedded(self.features(images))

    def embedded(self, features: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` of features by the method's ``projector``; notes how far they
        spread, for the log.
        """
        embeddings: Tensor = self.projector(features)
        with torch.no_grad():
            self.projection = {
                "projection_std": embedding_spread(embeddings.float()),
                "projection_scale": embeddings.float().std(dim=0, correction=0).mean(),
            }
        return embeddings

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
        first, second = self.projected(views.images).chunk(2)
        return first, second

    def crops(self, views: Views) -> tuple[Tensor, ...]:
        """``(N, D)`` of every view, full ones first; the backbone sees each size apart, the
        projector all together.
        """
        parts = [self.features(views.images)]
        if views.local:
            parts.append(self.backbone(torch.cat([view.images for view in views.local])))
        return self.embedded(torch.cat(parts)).chunk(len(views.whole) + len(views.local))


class Taught(Projected):
    """An objective with a teacher that follows backbone and projector; its settings say
    ``momentum``, which rises to 1.
    """

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.teacher = Teacher(backbone, self.projector)

    @torch.no_grad()
    def taught(self, views: Views) -> tuple[Tensor, Tensor]:
        """What the teacher makes of each view, ``(N, D)`` each, without gradient."""
        first, second = self.teacher(views.images).chunk(2)
        return first, second

    def after_step(self, progress: float) -> None:
        """The teacher follows, ever more slowly."""
        momentum = rising(self.settings.momentum, progress)
        self.teacher.follow(self.backbone, self.projector, momentum=momentum)


def sized(asked: Auto, images: int, per_image: float, least: int, most: int, what: str) -> int:
    """Return what was asked for; ``auto``: ``per_image`` times the images within limits, to a power
    of two, and printed.
    """
    if asked != "auto":
        return asked
    size = 1 << round(math.log2(max(least, min(most, per_image * images))))
    if rank() == 0:
        print(f"pretrain.settings: {what} of {size} for {images} images")
    return size


def _with_spread(module: Method, _: object, losses: Losses) -> Losses:
    return {**losses, "embedding_std": module.spread, **module.projection}


def method(
    name: str,
    paper: str,
    kind: str,
    needs: tuple[str, ...] = (),
    modalities: tuple[str, ...] = ("image",),
) -> Callable[[M], M]:
    """Give an objective its name (that of its file), the paper it comes from, and what it is and
    needs.
    """

    def decorate(objective: M) -> M:
        objective.name, objective.paper, objective.kind = name, paper, kind
        objective.needs, objective.modalities = frozenset(needs), frozenset(modalities)
        return objective

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
