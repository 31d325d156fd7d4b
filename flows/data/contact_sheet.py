"""Contact sheets: some of many images as one picture."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

MOST, SIDE, ACROSS = 60, 64, 12


def chosen(count: int) -> NDArray[np.int64]:
    """Which of ``count`` images a sheet shows: all, or sixty drawn from them, in order."""
    from stages.core.random import numpy_generator

    if count <= MOST:
        return np.arange(count)
    return np.sort(numpy_generator(0, "contact sheet", count).choice(count, MOST, replace=False))


def contact_sheet(images: NDArray[np.uint8]) -> str:
    """Up to sixty of the images (n, C, H, W), n > 0, as a PNG in base64, twelve in a row."""
    from PIL import Image

    shown = images[chosen(len(images))].transpose(0, 2, 3, 1)
    columns = min(len(shown), ACROSS)
    sheet = Image.new("RGB", (columns * SIDE, -(-len(shown) // columns) * SIDE), "white")
    for place, pixels in enumerate(shown):
        tile = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
        corner = (place % columns * SIDE, place // columns * SIDE)
        sheet.paste(tile.resize((SIDE - 2, SIDE - 2), Image.Resampling.NEAREST), corner)
    with io.BytesIO() as file:
        sheet.save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()
