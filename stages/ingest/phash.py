"""A 64-bit perceptual hash: the signs of an image's 64 lowest frequencies. Near-copies differ in
few bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIDE = 32
_LOWEST = sorted(
    ((u, v) for u in range(12) for v in range(12) if u + v), key=lambda uv: (uv[0] + uv[1], uv)
)[:64]
_ROWS = 1 + max(max(pair) for pair in _LOWEST)


def _dct_matrix() -> npt.NDArray[np.float64]:
    """Type-II cosine basis ``(_ROWS, SIDE)`` as whole numbers, so that every product below is exact
    on every machine.
    """
    frequency, position = np.arange(_ROWS)[:, None], np.arange(SIDE)[None, :]
    basis: npt.NDArray[np.float64] = np.cos(np.pi * frequency * (2 * position + 1) / (2 * SIDE))
    return np.rint(4096 * basis)


_DCT = _dct_matrix()
_PICK = tuple(np.array(_LOWEST).T)


def phash(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Hashes ``(N,)`` of grey images ``(N, 32, 32)``: bit i is 1 where frequency i is above the
    median of the 64.
    """
    images = grey.astype(np.float64)
    spectrum = (images.reshape(-1, SIDE) @ _DCT.T).reshape(len(grey), SIDE, _ROWS)
    spectrum = np.matmul(_DCT[None], spectrum)
    low = spectrum[:, _PICK[0], _PICK[1]]  # (N, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8").astype(np.uint64)[:, 0]


def as_text(hashes: npt.NDArray[np.uint64]) -> list[str]:
    """Sixteen hexadecimal digits each."""
    return [f"{value:016x}" for value in hashes.tolist()]
