"""scikit-learn's handwritten digits: 1,797 real grey images of 8 x 8 pixels, embedded in the
package.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.core.data.sources import Source
from stages.core.sections import Ingest
from stages.ingest.listing import Entries


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the digits; a handle is the image itself, scaled from 0..16 to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)[:, :, :, None]
    return Entries(
        uris=[f"{number:04}" for number in range(len(images))],
        labels=[str(label) for label in digits.target],
        splits=[None] * len(images),
        handles=images,
    )


def load(handle: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image ``(8, 8, 1)``."""
    return handle
