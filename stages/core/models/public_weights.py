"""Public weights: fetched once into ``.rootstock/weights``, by ``rootstock weights get`` alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torchvision
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from safetensors.torch import load_file, save_file
from torch import Tensor

from stages.core import paths
from stages.core.errors import ConfigError, nearest
from stages.core.io import atomic_file, write_json
from stages.core.starts import cached, described, split_start

WEIGHTS = "model.safetensors"


def fetch(start: str) -> Path:
    """Fetch the weights of ``timm:NAME`` or ``torchvision:NAME`` into the project's cache.

    Hugging Face's own cache is used first; with ``HF_HUB_OFFLINE`` it alone.

    Raises:
        ConfigError: no such weights, or they cannot be fetched.
    """
    kind, name = split_start(start)
    weights, about = _timm(name) if kind == "timm" else _torchvision(name)
    place = cached(start)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(place) as temporary:
        save_file({key: tensor.contiguous() for key, tensor in weights.items()}, temporary)
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(described(start), {"start": start, "sha256": digest, **about})
    return place


def _timm(name: str) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    config = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    repository = config.hf_hub_id if config is not None else None
    if config is None or not repository:
        hint = nearest(name, timm.list_pretrained())
        raise ConfigError(f"weights get: timm has no weights called {name!r}; {hint}".rstrip("; "))
    offline = constants.HF_HUB_OFFLINE
    file = try_to_load_from_cache(repository, WEIGHTS, cache_dir=constants.HF_HUB_CACHE)
    if not isinstance(file, str):
        if offline:
            raise ConfigError(
                f"weights get: {repository} is not in the Hugging Face cache, and HF_HUB_OFFLINE is"
                " set: unset it where there is a network, or copy"
                f" {paths.WEIGHTS / 'timm'} from a project that has them"
            )
        try:
            file = hf_hub_download(repository, WEIGHTS)
        except Exception as error:  # the library raises what its transports raise
            raise _unreachable(repository, error) from None
    return load_file(file), {
        **{"licence": config.license, "origin": f"{repository} on the Hugging Face Hub"},
        **{"mean": list(config.mean), "std": list(config.std)},
        "input_size": list(config.input_size),
    }


def _torchvision(name: str) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    try:
        weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    except ValueError:
        known = torchvision.models.list_models(module=torchvision.models)
        hint = nearest(name, known)
        raise ConfigError(
            f"weights get: torchvision has no {name!r}; {hint}".rstrip("; ")
        ) from None
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ConfigError(
            f"weights get: torchvision:{name} has to be downloaded, and HF_HUB_OFFLINE is set:"
            " unset it where there is a network"
        )
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except Exception as error:
        raise _unreachable(f"torchvision:{name}", error) from None
    images = weights.transforms()
    return state, {
        **{"licence": None, "origin": f"torchvision {torchvision.__version__}, {weights}"},
        **{"mean": list(images.mean), "std": list(images.std)},
        "input_size": [3, images.crop_size[0], images.crop_size[0]],
    }


def _unreachable(what: str, error: Exception) -> ConfigError:
    first = next(iter(str(error).strip().splitlines()), "")[:200]
    return ConfigError(f"weights get: {what} cannot be fetched: {type(error).__name__}: {first}")
