"""Starts: what ``pretrain.start`` may name, and where public weights are kept.

``random``, ``file:PATH``, ``registry:NAME@ALIAS`` (or ``NAME/VERSION``), ``timm:NAME`` and
``torchvision:NAME``. Public weights are read from ``.rootstock/weights`` only; ``rootstock weights
get`` puts them there, and a run never downloads.
"""

from __future__ import annotations

from pathlib import Path

from stages.core import paths
from stages.core.errors import nearest

RANDOM, NO_METHOD, PRETRAINED = "random", "none", "pretrained"
PUBLIC = ("timm", "torchvision")
KINDS = ("file", "registry", *PUBLIC)
SUFFIX = ".safetensors"


def check_start(value: str) -> str:
    """Return a start of known form as it is.

    Raises:
        ValueError: no such kind, or nothing after the colon.
    """
    kind, colon, rest = value.partition(":")
    if value == RANDOM or (colon and kind in KINDS and rest.strip()):
        return value
    forms = [RANDOM, *(f"{name}:" for name in KINDS)]
    hint = nearest(f"{kind}:" if colon else value, forms)
    raise ValueError(
        f"{value!r} is no start; {hint}it is random, file:PATH, registry:NAME@ALIAS, timm:NAME or"
        " torchvision:NAME"
    )


def check_teacher(value: str) -> str:
    """Return a teacher of known form as it is: ``pretrained`` or a start other than ``random``.

    Raises:
        ValueError: no such kind, or nothing after the colon.
    """
    if value == RANDOM:
        raise ValueError(f"{value!r} teaches nothing: it is {PRETRAINED} or weights, as file:PATH")
    return value if value == PRETRAINED else check_start(value)


def split_start(value: str) -> tuple[str, str]:
    """Return kind and argument, such as ``("timm", "resnet18.a1_in1k")``."""
    kind, _, rest = value.partition(":")
    return kind, rest


def network(value: str) -> str | None:
    """Return the backbone that a public start is for; None where the name does not say it."""
    kind, name = split_start(value)
    if kind == "timm":
        return name.partition(".")[0]
    return value if kind == "torchvision" else None


def cached(value: str) -> Path:
    """Return the place of public weights, whether they are there or not."""
    kind, name = split_start(value)
    return paths.WEIGHTS / kind / f"{name.replace('/', '--')}{SUFFIX}"


def described(value: str) -> Path:
    """Return the file beside them that says SHA-256, licence, origin, mean and std."""
    weights = cached(value)
    return weights.with_name(weights.name.removesuffix(SUFFIX) + ".json")
