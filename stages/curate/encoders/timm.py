"""A pretrained network of timm by name, where its weights already lie on this machine; nothing is
downloaded during a run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache

from stages.core.errors import ConfigError, nearest
from stages.core.image.backbones import Backbone
from stages.core.image.preprocess import Preprocess
from stages.core.models.artifact import Encoder
from stages.curate.encoder import Encode, Source
from stages.curate.network_encoder import as_encode

VERSION = 1
WEIGHTS = "model.safetensors"


def identity(source: Source, argument: str) -> str:
    """SHA-256 of the weights."""
    with weights(argument).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(source: Source, argument: str) -> Encode:
    """Build the network for the pool's channels and load the weights, with the size and
    normalisation they were made for.
    """
    file, channels = weights(argument), source.store.shape[1]
    body = timm.create_model(
        argument,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file), "source": "file"},
        num_classes=0,
        in_chans=channels,
    ).eval()
    wanted = timm.data.resolve_data_config(pretrained_cfg=body.pretrained_cfg)
    size, mean, std = wanted["input_size"][-1], wanted["mean"], wanted["std"]
    if channels == 1:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    with torch.inference_mode():
        width = body(torch.zeros(1, channels, size, size)).shape[1]
    preprocess = Preprocess(
        size=size, channels=channels, mean=tuple(mean), std=tuple(std), interpolation="bicubic"
    )
    return as_encode(
        Encoder(Backbone(body, argument, channels, size, width), preprocess, {}), source, argument
    )


def weights(name: str) -> Path:
    """The cached weights of a timm name.

    Raises:
        ConfigError: no such network, or none of its weights on this machine.
    """
    if not timm.is_model(name):
        close = nearest(name, timm.list_pretrained())
        raise ConfigError(
            f"curate.encoder: timm has no {name!r}; {close}timm.list_pretrained() names them"
        )
    config = timm.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config is not None else None
    found = (
        try_to_load_from_cache(repository, WEIGHTS, cache_dir=constants.HF_HUB_CACHE)
        if repository
        else None
    )
    if not isinstance(found, str):
        how = (
            f"fetch them once with: hf download {repository} {WEIGHTS}"
            if repository
            else "timm has none for it"
        )
        raise ConfigError(f"curate.encoder: the weights of {name} are not on this machine; {how}")
    return Path(found)
