"""The map shows what the features say: what is apart lies apart, what is alike lies together."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stages.core.random import numpy_generator
from stages.pretrain.embedding_map import (
    DOT,
    FAINT,
    FOOT,
    HEAD,
    MARGIN,
    PANEL,
    embedding_map,
    plane,
)


def features(apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Two groups of 30, their centres ``apart`` along one of eight directions."""
    values = numpy_generator(0, "map").normal(size=(60, 8)).astype(np.float32)
    labels = np.repeat([0, 1], 30)
    values[:, 3] += np.where(labels == 0, apart, -apart)
    return values, labels


def test_groups_that_are_apart_lie_apart() -> None:
    values, labels = features(apart=8)
    places, (first, second) = plane(values)
    cats, dogs = places[labels == 0, 0], places[labels == 1, 0]
    assert cats.max() < dogs.min() or dogs.max() < cats.min()
    assert first > 0.5 > second > 0


def test_the_plane_is_that_of_the_naive_decomposition() -> None:
    values, _ = features(apart=2)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    places, shares = plane(values)
    assert np.abs(places) == pytest.approx(np.abs(centred @ directions[:, [-1, -2]]), abs=1e-5)
    assert shares == pytest.approx(variances[[-1, -2]] / variances.sum(), abs=1e-5)


def test_every_kind_of_features_has_a_panel_and_every_class_a_colour() -> None:
    values, labels = features(apart=8)
    drawn = embedding_map(
        {"raw pixels": values[:, :3], "pretrained": values}, labels, ["cat", "dog"]
    )
    assert drawn == embedding_map(
        {"raw pixels": values[:, :3], "pretrained": values}, labels, ["cat", "dog"]
    )
    picture = Image.open(io.BytesIO(drawn))
    assert picture.size == (MARGIN + 2 * (PANEL + MARGIN), HEAD + PANEL + FOOT)
    left = MARGIN + PANEL + MARGIN
    panel = np.asarray(
        picture.crop((left + DOT, HEAD + DOT, left + PANEL - DOT, HEAD + PANEL - DOT))
    ).reshape(-1, 3)
    colours, counts = np.unique(panel, axis=0, return_counts=True)
    assert len(colours) == 3, "paper and two classes: no dot lies on the frame"
    assert sorted(counts)[0] > 30 * 5


def test_images_that_are_all_alike_and_nameless_lie_in_the_middle() -> None:
    picture = Image.open(
        io.BytesIO(embedding_map({"pretrained": np.ones((5, 4), np.float32)}, np.full(5, -1), []))
    )
    assert picture.getpixel((MARGIN + PANEL // 2, HEAD + PANEL // 2)) == FAINT
