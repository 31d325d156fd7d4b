"""What each image would be called by a classifier that knows all labels but its own.

Ridge regression on random features of shapes, averaged over shifted and mirrored copies of the
image, so that where an object stands does not matter: "Random Features for Large-Scale Kernel
Machines" (2007), "Learning with Group Invariant Features: A Kernel Perspective" (2015).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.core.data.manifest import Rows
from stages.core.image.thumbnails import Array
from stages.core.random import numpy_generator
from stages.validate import embedding
from stages.validate.audit import Pool, blocks

Values = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

FEATURES = 512
WIDTH = 2.0
"""Of the kernel: its exponent at the median squared distance of two images."""
STEP = 3 / 32
"""How far copies are shifted, as a share of the side."""
SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
PENALTIES = (0.3, 1.0, 3.0)
TRUSTED = 0.3
"""Labels that lose by more than this in the first round are not learnt from in the second."""


def margins(pool: Pool, rows: Rows, labels: Labels) -> tuple[Values, Labels]:
    """By how much the best other class beats each image's label (n,), below 0 where the label wins;
    and that class (n,).

    Whether mirror images count as the same, and how smooth the classifier is, is decided by which
    agrees with more labels. It learns twice, the second time without the labels it would not give:
    "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021) prunes so. All classes
    weigh the same.
    """
    known = np.ones(len(rows), bool)
    choices = [
        (described, penalty) for described in _descriptions(pool, rows) for penalty in PENALTIES
    ]
    described, penalty = max(
        choices,
        key=lambda choice: _agreement(left_out(choice[0], labels, known, choice[1]), labels),
    )
    known = _margin(left_out(described, labels, known, penalty), labels)[0] <= TRUSTED
    known |= (
        np.bincount(labels[known], minlength=labels.max() + 1)[labels] == 0
    )  # a class nobody trusts keeps its images
    return _margin(left_out(described, labels, known, penalty), labels)


def left_out(
    described: Values, labels: Labels, known: npt.NDArray[np.bool_], penalty: float
) -> Values:
    """How much each image looks like each class (n, classes), by a ridge fit on the known images
    without itself.
    """
    count = int(labels.max()) + 1
    target = np.eye(count)[labels] - 1 / count
    weight = (
        np.where(
            known, 1.0 / np.maximum(np.bincount(labels[known], minlength=count), 1)[labels], 0.0
        )
        * len(labels)
        / count
    )
    weighted = described * weight[:, None]
    inverse = np.linalg.inv(described.T @ weighted + penalty * np.eye(described.shape[1]))
    fitted = described @ (inverse @ (weighted.T @ target))
    own = (np.einsum("nd,nd->n", described @ inverse, described) * weight)[:, None]
    said: Values = (fitted - own * target) / (1 - own) + 1 / count
    return said


def _agreement(said: Values, labels: Labels) -> float:
    return float((said.argmax(axis=1) == labels).mean())


def _margin(said: Values, labels: Labels) -> tuple[Values, Labels]:
    mine = np.arange(len(labels))
    own = said[mine, labels]
    others = said.copy()
    others[mine, labels] = -np.inf
    best = others.argmax(axis=1)
    return others[mine, best] - own, best


def _descriptions(pool: Pool, rows: Rows) -> list[Values]:
    """Random features (n, 2 * 512 + 1) of the images and their shifted copies; the same with
    mirrored ones.
    """
    lot = numpy_generator(pool.seed, "audit", "opinion")
    sample = pool.shapes(np.sort(lot.permutation(rows)[:500]))
    squares = (sample**2).sum(axis=1)
    median = max(float(np.median(squares[:, None] + squares - 2 * sample @ sample.T)), 1e-6)
    directions = (
        lot.standard_normal((sample.shape[1], FEATURES)) * np.sqrt(2 * WIDTH / median)
    ).astype(np.float32)
    plain, mirrored = [], []
    for part in blocks(rows):
        images = pool.thumbnails(part)
        plain.append(_averaged(images, directions))
        mirrored.append(_averaged(np.ascontiguousarray(images[..., ::-1]), directions))
    one, other = np.concatenate(plain), np.concatenate(mirrored)
    return [np.hstack([values, np.ones((len(values), 1))]) for values in (one, (one + other) / 2)]


def _averaged(images: Array, directions: Array) -> Values:
    """Mean cosines and sines over shifted copies."""
    step = max(1, round(images.shape[-1] * STEP))
    around = np.pad(images, ((0, 0), (0, 0), (step, step), (step, step)), mode="edge")
    total = np.zeros((len(images), 2 * directions.shape[1]))
    side = images.shape[-1]
    for down, right in SHIFTS:
        top, left = step * (1 + down), step * (1 + right)
        angles = embedding.shapes(around[:, :, top : top + side, left : left + side]) @ directions
        total += np.hstack([np.cos(angles), np.sin(angles)])
    mean: Values = total / (len(SHIFTS) * directions.shape[1] ** 0.5)
    return mean
