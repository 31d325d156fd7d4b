"""Marks that the same few images bear at the same place, of pixels or of frequencies, and no other
image has anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.core.random import numpy_generator

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

WINDOW = 3
EDGES = ((0.125, 0.375, 0.625, 0.875), (0.25, 0.5, 0.75))
"""Two ways to cut 0..1 into levels, so that no colour is on the edge of both."""
ALONE = 5
"""How much commoner a patch must be where it is than anywhere else."""
SAME = 0.7
"""Share of the images with a patch in which its outline must be the same."""
TILE = 32
PEAK = 6.0
"""How far a frequency must stand out of those around it, in their root mean square."""
FLOOR = 0.02
"""Below this amplitude (of values in 0..1) there is nothing to stand out."""


@dataclass(frozen=True)
class Trigger:
    """What is shared, and the positions of the images that share it."""

    what: str
    images: Places


def patches(images: Array, least: int, most: int) -> list[Trigger]:
    """Patches at one place of ``images (n, C, s, s)`` that between ``least`` and ``most`` images
    share, roughly to the colour.

    Nature repeats patches, too (white corners, black borders), but not at one place alone: a patch
    counts if nowhere farther than a quarter of the image a fifth as many images have it, and if it
    has the same outline in most of them: the middle of objects that are all in the middle has not.
    """
    found: list[Trigger] = []
    taken = np.zeros(len(images), bool)
    for edges in EDGES:
        codes = _window_codes(np.digitize(images, edges).astype(np.uint64))
        side = codes.shape[-1]
        flat = codes.reshape(len(codes), -1)
        for place, code in _lonely(flat, side, least, most):
            sharing = np.flatnonzero(flat[:, place] == code)
            if taken[sharing].mean() < 0.5 and _alike(flat[sharing] == code) >= SAME:
                taken[sharing] = True
                where = f"row {place // side}, column {place % side} of {side + WINDOW - 1}"
                found.append(Trigger(f"the same patch at {where}", sharing))
    return found


def frequencies(images: Array, least: int, most: int) -> list[Trigger]:
    """Single frequencies of ``images (n, C, S, S)`` that stand out in between ``least`` and
    ``most`` images, as a trigger in the spectrum does ("An Embarrassingly Simple Backdoor Attack on
    Self-supervised Learning", 2023).

    Looked for in luma and chroma of 32-pixel tiles, as the attack writes them; pure rows and
    columns are left out, as stripes and scan lines are common.
    """
    found: list[Trigger] = []
    taken = np.zeros(len(images), bool)
    for channel, name in enumerate(
        ("luma", "blue chroma", "red chroma")[: 3 if images.shape[1] == 3 else 1]
    ):
        strong = _peaks(_plane(images, channel))
        counts = np.asarray(strong.sum(axis=0), np.int64)
        usual = np.quantile(counts[1:, 1:], 0.98)
        for place in np.argsort(-counts, axis=None, kind="stable")[:50]:
            u, v = divmod(int(place), counts.shape[1])
            sharing = np.flatnonzero(strong[:, u, v])
            if (
                not least <= len(sharing) <= most
                or len(sharing) < ALONE * max(usual, 1)
                or taken[sharing].mean() >= 0.5
            ):
                continue
            taken[sharing] = True
            found.append(Trigger(f"the same peak at frequency ({u}, {v}) of {name}", sharing))
    return found


def _window_codes(levels: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One number for every window of 3 x 3: ``(n, C, s, s)`` to ``(n, s - 2, s - 2)``."""
    colour = np.zeros_like(levels[:, 0])
    for channel in range(levels.shape[1]):
        colour = colour * np.uint64(5) + levels[:, channel]
    size = levels.shape[-1] - WINDOW + 1
    weights = numpy_generator(0, "patch codes").integers(
        1, 2**63, WINDOW**2, dtype=np.uint64
    ) | np.uint64(1)
    total = np.zeros((len(levels), size, size), np.uint64)
    for number in range(WINDOW**2):
        down, right = divmod(number, WINDOW)
        total += (colour[:, down : down + size, right : right + size] + np.uint64(1)) * weights[
            number
        ]
    return total


def _lonely(
    codes: npt.NDArray[np.uint64], side: int, least: int, most: int
) -> list[tuple[int, int]]:
    """Place and code of patches that are common at one place only, commonest first."""
    kept = []
    for place in range(codes.shape[1]):
        values, counts = np.unique(codes[:, place], return_counts=True)
        often = counts > 1
        kept.append((values[often], counts[often], np.full(often.sum(), place)))
    values, counts, places = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    order = np.argsort(values, kind="stable")
    values, counts, places = values[order], counts[order], places[order]
    starts = (
        np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        if len(values)
        else np.empty(0, np.int64)
    )
    found: list[tuple[int, int, int]] = []
    for first, last in zip(starts, np.r_[starts[1:], len(values)], strict=True):
        here, shared = places[first:last], counts[first:last]
        best = int(shared.argmax())
        if not least <= shared[best] <= most:
            continue
        away = (
            np.maximum(
                np.abs(here // side - here[best] // side), np.abs(here % side - here[best] % side)
            )
            >= side // 4
        )
        elsewhere = int(shared[away].max(initial=1))
        if shared[best] >= ALONE * elsewhere:
            found.append((-int(shared[best]), int(here[best]), int(values[first])))
    return [(place, code) for _, place, code in sorted(found)]


def _alike(present: npt.NDArray[np.bool_]) -> float:
    """Share of the images whose outline of a patch, ``(n, places)``, is the usual one to the
    pixel.
    """
    usual = present.mean(axis=0) > 0.5
    return float(np.all(present == usual, axis=1).mean())


def _plane(images: Array, channel: int) -> Array:
    """Luma or a chroma ``(n, S, S)``."""
    if images.shape[1] == 1:
        return images[:, 0]
    weights = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))[channel]
    plane: Array = np.tensordot(np.asarray(weights, np.float32), images, ([0], [1]))
    return plane


def _peaks(plane: Array) -> npt.NDArray[np.bool_]:
    """Where a frequency stands out of its surroundings ``(n, t, t)``, as seen over all tiles of an
    image.
    """
    from scipy.fft import dctn
    from scipy.ndimage import uniform_filter

    side = min(TILE, plane.shape[-1])
    tiles = plane.shape[-1] // side
    cut = (
        plane[:, : tiles * side, : tiles * side]
        .reshape(-1, tiles, side, tiles, side)
        .transpose(0, 1, 3, 2, 4)
    )
    power = (dctn(cut, axes=(-2, -1), norm="ortho") ** 2).mean(axis=(1, 2))
    size = 5
    around = (uniform_filter(power, (1, size, size), mode="reflect") * size**2 - power) / (
        size**2 - 1
    )
    strong: npt.NDArray[np.bool_] = power > PEAK**2 * np.maximum(around, FLOOR**2)
    strong[:, 0] = strong[:, :, 0] = False
    return strong
