"""Teachers: the pretrained encoder, or weights from elsewhere with a network of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.image.backbones import create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.models.artifact import Encoder
from stages.core.models.foreign_weights import load_into
from stages.core.models.start import Start
from stages.core.params import Params
from stages.core.starts import PRETRAINED

LEAST = 0.9
"""Fraction of a teacher's network that given weights must fill."""


def load_teacher(params: Params, pretrained: Encoder) -> Encoder:
    """Return the pretrained encoder, or the weights that ``distill.teacher`` names, in a network of
    their own and with their own normalisation.

    Raises:
        ConfigError: the network is not known, or the weights do not fit it.
    """
    own = params.distill
    if own.teacher == PRETRAINED:
        return pretrained
    start = Start.named(own.teacher, paths.TEACHER, "distill.teacher")
    name = start.backbone if own.teacher_backbone == "auto" else own.teacher_backbone
    if name is None:
        raise ConfigError(
            f"distill.teacher_backbone is auto, and {own.teacher} does not say its network: name it"
        )
    images = pretrained.preprocess
    backbone = create_backbone(
        name, images.channels, images.size, params.seed, start.stem_for(images.size)
    )
    fit = load_into(backbone, start.file, LEAST, "distill.teacher")
    print(f"distill: {own.teacher} fills {fit.fraction:.1%} of {name}, the teacher")
    about = {"name": start.start, "sha256": start.sha256, "origin": start.origin}
    return Encoder(backbone, start.normalised(images), {"method": "teacher", **about})


def renormalisation(student: Preprocess, teacher: Preprocess) -> tuple[Tensor, Tensor]:
    """Return scale and shift (C,) from images normalised for the student to the teacher's."""
    mean, std = (torch.tensor(values) for values in (student.mean, student.std))
    other_mean, other_std = (torch.tensor(values) for values in (teacher.mean, teacher.std))
    return std / other_std, (mean - other_mean) / other_std
