import numpy as np
from PIL import Image
from scipy.fft import dctn

from stages.ingest.phash import _LOWEST, as_text, phash
from tests.support.images import IMAGES


def thumbnails(count: int) -> np.ndarray:
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
            for image in IMAGES[:count]
        ]
    )


def test_the_bits_are_the_signs_of_the_lowest_frequencies_around_their_median():
    images = thumbnails(20)
    for image, text in zip(images, as_text(phash(images)), strict=True):
        spectrum = dctn(image.astype(float), type=2)
        low = np.array([spectrum[u, v] for u, v in _LOWEST])
        # scipy's transform is the same basis unscaled: ranks may differ only where two values touch
        bits = low > np.median(low)
        found = np.array([int(bit) for bit in f"{int(text, 16):064b}"], bool)
        assert (bits != found).sum() <= 2


def test_brightness_and_recompression_flip_few_bits_other_digits_many():
    images = thumbnails(200)
    brighter = np.clip(images.astype(int) * 1.1 + 10, 0, 255).astype(np.uint8)

    def distance(a, b):
        return np.bitwise_count(phash(a) ^ phash(b))

    assert np.percentile(distance(images, brighter), 90) <= 6
    assert np.median(distance(images[:-1], images[1:])) > 20


def test_a_flat_image_has_a_stable_hash():
    flat = np.full((3, 32, 32), 100, np.uint8)
    assert as_text(phash(flat)) == ["0" * 16] * 3
