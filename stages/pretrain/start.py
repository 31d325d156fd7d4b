"""Beginning of a pretraining from given weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.models.foreign_weights import listed, load_into
from stages.core.models.start import Start
from stages.core.sections import Pretrain


def begin(backbone: Backbone, start: Start, params: Pretrain) -> dict[str, Any]:
    """Load the start into a network, in place; return what is recorded: its name, SHA-256, origin
    and licence, the fraction of the network it fills, and the names that did not fit.

    Raises:
        ConfigError: it fills less than ``start_min_fraction``.
    """
    fit = load_into(backbone, start.file, params.start_min_fraction)
    return {
        **{"name": start.start, "sha256": start.sha256},
        **{"origin": start.origin, "licence": start.licence},
        "fraction": round(fit.fraction, 6),
        **{"missing": list(fit.missing), "unused": list(fit.unused)},
        "adapted": list(fit.adapted),
    }


def told(begun: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for people on what :func:`begin` found."""
    yield f"pretrain: {begun['name']} fills {begun['fraction']:.1%} of the network"
    for key, what in (
        ("adapted", "fitted to other shapes"),
        ("missing", "not in the file, random"),
        ("unused", "in the file, without a place in the network"),
    ):
        if begun[key]:
            yield f"pretrain: {what}: {listed(begun[key])}"
