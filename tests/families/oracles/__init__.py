"""Naive forms of every objective's loss, from the papers' equations, one number at a time."""

from tests.families.oracles import clustering, contrastive, dense, masked, negative_free, pretext
from tests.families.oracles.naive import ORACLES

__all__ = ["ORACLES", "clustering", "contrastive", "dense", "masked", "negative_free", "pretext"]
