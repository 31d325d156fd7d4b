"""The short way through a JPEG file: the bytes Pillow gives, or none."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.core.image.decode import Unreadable, open_image, open_pixels, to_array
from stages.core.image.jpeg_decoder import plain_jpeg
from stages.core.random import numpy_generator

LIMIT = 10**6


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with an edge in them."""
    coarse = numpy_generator(seed, "turbo").integers(0, 256, (3, 4, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.paste((250, 20, 30), (width // 3, height // 3, width // 2 + 1, height // 2 + 1))
    return image


def jpeg(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(content: bytes) -> np.ndarray:
    image = open_image(content, LIMIT)
    return to_array(image, 1 if image.mode == "L" else 3)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 100),
    st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
def test_plain_files_of_every_kind_have_pillows_bytes(
    width, height, quality, sampling, progressive, grey, seed
):
    image = picture(width, height, seed)
    content = jpeg(
        image.convert("L") if grey else image,
        quality=quality,
        subsampling=sampling,
        progressive=progressive,
    )
    found = plain_jpeg(content, LIMIT)
    assert found is not None
    assert found.shape == (height, width, 1 if grey else 3)
    assert (found == by_pillow(content)).all()


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 2000), st.integers(1, 255), st.booleans())
def test_a_damaged_file_never_looks_different_from_what_pillow_makes_of_it(place, change, cut):
    content = bytearray(jpeg(picture(40, 30), quality=90))
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] ^= change
    found = plain_jpeg(bytes(content), LIMIT)
    try:
        expected = by_pillow(bytes(content))
    except Unreadable:
        return  # Pillow minds a broken header that the decoder never reads
    assert found is None or (found.shape == expected.shape and (found == expected).all())


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(picture(20, 10), exif=exif)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff",
        jpeg(picture(20, 10))[:-40],
        jpeg(picture(20, 10).convert("CMYK")),
        turned(),
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["empty", "start", "cut", "cmyk", "turned", "png"],
)
def test_what_leaves_a_question_is_pillows(content):
    assert plain_jpeg(content, LIMIT) is None


def test_a_turned_file_is_turned_and_a_large_one_refused():
    assert open_pixels(turned(), LIMIT).shape == (20, 10, 3)
    assert plain_jpeg(jpeg(picture(20, 10)), 199) is None
    with pytest.raises(Unreadable, match="over the limit of 199"):
        open_pixels(jpeg(picture(20, 10)), 199)
