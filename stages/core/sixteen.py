"""Images of 16 bits: their values at full depth, and the range that becomes 0 to 255."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

Levels = tuple[int, int]
"""The lowest and the highest value of a range of 16-bit values."""
FULL: Levels = (0, 65535)
FEW = 64
"""Grey levels below which an image is nearly flat."""

_NATIVE = "L" if sys.byteorder == "little" else "B"
_DEEP = {f"{mode};16{order}" for mode in ("RGB", "RGBA", "RGBX") for order in "BLN"}


def is_deep(image: Image.Image) -> bool:
    """Return whether an opened image, not yet loaded, has over 8 bits per channel."""
    return image.mode.startswith("I") or _raw_mode(image) in _DEEP


def deep_values(image: ImageFile, again: ImageFile) -> npt.NDArray[np.uint16] | None:
    """Return colours of 16 bits ``(H, W, 3)``; ``None`` where a colour has 8.

    Pillow keeps one byte of each value: ``image`` and ``again`` are the same file opened twice,
    and of the second the other byte is read.
    """
    raw = _raw_mode(image)
    if raw not in _DEEP:
        return None
    order = raw[-1].replace("N", _NATIVE)
    other = raw[:-1] + ("L" if order == "B" else "B")
    again.tile = [tile._replace(args=_with_mode(tile.args, other)) for tile in again.tile]
    high, low = (np.asarray(part)[:, :, :3].astype(np.uint16) for part in (image, again))
    values: npt.NDArray[np.uint16] = (high << np.uint16(8)) | low
    return values


def to_bytes(values: npt.NDArray[Any], levels: Levels) -> npt.NDArray[np.uint8]:
    """Scale ``levels`` to 0 to 255; what is outside is clipped.

    A range that is a power of two starting at zero keeps the highest 8 of its bits.
    """
    low, high = levels
    bits = (high + 1).bit_length() - 1
    wide = values.astype(np.int64)
    if low == 0 and high + 1 == 1 << bits and bits >= 8:
        return (np.clip(wide, 0, high) >> (bits - 8)).astype(np.uint8)
    scaled = (np.clip(wide, low, high) - low) * 255 / max(high - low, 1)
    return np.rint(scaled).astype(np.uint8)


def range_in_use(lowest: int, highest: int) -> Levels:
    """Return the range for images whose values lie between these two.

    The bits in use decide (a 12-bit camera gives 0 to 4095); where the values fill less than half
    of that, as those of a scanner with an offset do, they are the range themselves.
    """
    bits = max(highest.bit_length(), 8)
    if highest - lowest < (1 << (bits - 1)) - 1 and lowest > 0:
        return lowest, highest
    return 0, (1 << bits) - 1


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _with_mode(args: Any, mode: str) -> Any:
    return (mode, *args[1:]) if isinstance(args, tuple) else mode
