import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from stages.core.image.decode import Unreadable, decode, resize

LIMIT = 10**6
GREY = (load_digits().images[3] * 15).astype(np.uint8)
COLOUR = np.stack([GREY, GREY.T, 255 - GREY], -1)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_lossless_formats_keep_every_pixel(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert (
        decode(encoded(Image.fromarray(GREY), kind, **options), 1, LIMIT)[:, :, 0] == GREY
    ).all()
    if kind != "GIF":
        assert (decode(encoded(Image.fromarray(COLOUR), kind, **options), 3, LIMIT) == COLOUR).all()


def test_jpeg_is_near_and_grey_is_repeated_in_a_colour_store():
    pixels = decode(encoded(Image.fromarray(GREY), "JPEG", quality=95), 3, LIMIT)
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels[:, :, 0].astype(int) - GREY).mean() < 6
    assert (pixels[:, :, 0] == pixels[:, :, 2]).all()


def test_palette_and_bilevel():
    palette = Image.fromarray(COLOUR).quantize(64)
    assert (decode(encoded(palette), 3, LIMIT) == np.asarray(palette.convert("RGB"))).all()
    assert set(np.unique(decode(encoded(Image.fromarray(GREY).convert("1")), 1, LIMIT))) <= {0, 255}


def test_sixteen_bit_keeps_the_high_byte():
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    assert (decode(encoded(deep), 1, LIMIT)[:, :, 0] == GREY).all()
    assert (decode(encoded(deep, "TIFF"), 1, LIMIT)[:, :, 0] == GREY).all()


def test_transparency_is_laid_on_white():
    clear = Image.fromarray(np.dstack([COLOUR, np.zeros_like(GREY)]), "RGBA")
    assert (decode(encoded(clear), 3, LIMIT) == 255).all()
    half = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (8, 8), 128)])
    expected = GREY * (128 / 255) + 255 * (127 / 255)
    assert np.abs(decode(encoded(half), 1, LIMIT)[:, :, 0] - expected).max() <= 1
    keyed = Image.fromarray(COLOUR).quantize(16)
    first = keyed.getpixel((0, 0))
    assert decode(encoded(keyed, transparency=first), 3, LIMIT)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [(1, GREY), (3, GREY[::-1, ::-1]), (6, np.rot90(GREY, -1)), (8, np.rot90(GREY))],
)
def test_exif_rotation_is_applied(orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (
        decode(encoded(Image.fromarray(GREY), "PNG", exif=exif), 1, LIMIT)[:, :, 0] == expected
    ).all()


def test_first_frame_of_an_animation_and_cmyk():
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(animated, 1, LIMIT)[:, :, 0] == GREY).all()
    flat = Image.new("RGB", (8, 8), (200, 30, 90)).convert("CMYK")
    assert np.abs(decode(encoded(flat, "TIFF"), 3, LIMIT).astype(int) - (200, 30, 90)).max() <= 3


def test_what_cannot_be_used_says_why(tmp_path):
    whole = encoded(Image.fromarray(COLOUR).resize((64, 64)), "JPEG")
    cases = {
        b"": "empty file",
        b"no image at all": "not an image",
        whole[: len(whole) // 2]: "truncated",
        encoded(Image.fromarray(GREY))[:60]: "damaged",
        encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"): "floating-point",
        encoded(Image.new("L", (1001, 1000))): "1001 x 1000 pixels, over the limit of 1000000",
        encoded(Image.new("1", (20000, 20000))): "over the limit",
    }
    for content, reason in cases.items():
        with pytest.raises(Unreadable, match=reason):
            decode(content, 3, LIMIT)
    with pytest.raises(Unreadable, match="No such file"):
        decode(tmp_path / "gone.png", 3, LIMIT)


def test_reasons_hold_no_address_of_this_process():
    with pytest.raises(Unreadable) as caught:
        decode(b"II*\0" + b"\xff" * 40, 3, LIMIT)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 8, 1), (40, 30, 3), (30, 41, 3), (5, 200, 1)])
def test_resize_takes_the_centre_square(shape):
    ramp = np.broadcast_to(np.linspace(0, 255, shape[1])[None, :, None], shape).astype(np.uint8)
    small = resize(ramp, 16)
    assert small.shape == (16, 16, shape[2])
    assert abs(small.mean() - 127) < 2
    side = min(shape[:2]) / shape[1]
    assert abs(np.ptp(small.astype(float)) - 255 * side) < 255 / 16 + 255 / shape[1]
    assert resize(small, 16) is small
