"""From a file or bytes to uint8 pixels: every rule about image formats stands here, for ingest and
for serving alike.

The rules: EXIF rotation is applied; of an animation the first frame counts; palettes become
colours; transparency is laid on white; of 16-bit samples the range ``levels`` becomes 0 to 255 (the
whole range: their high byte); CMYK and other colour spaces become RGB; floating-point images are
refused, as they have no agreed range. An image with more than ``max_pixels`` pixels is refused
before a pixel is decoded.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from stages.core.formats import FORMATS, formats_of
from stages.core.image.jpeg_decoder import plain_jpeg
from stages.core.sixteen import FULL, Levels, deep_values, is_deep, to_bytes

Pixels = npt.NDArray[np.uint8]
BYTES_PER_PIXEL = 16
"""No format needs more for one pixel: a longer file is not read into memory."""
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
STORE_INTERPOLATION: Interpolation = "bicubic"

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_ROTATION = 0x0112
_EXIF = frozenset(
    {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type APP1"}
)
"""Where Pillow keeps what may tell of a rotation."""
_ADDRESS = re.compile(r"\s*<?[\w.]*\s*(object )?(at )?0x[0-9a-f]+>?")


class Unreadable(Exception):
    """An image that cannot be used; the message is the reason, the same on every machine and in
    every folder.
    """


def decode(
    source: bytes | Path | str, channels: int, max_pixels: int, levels: Levels = FULL
) -> Pixels:
    """Decode to uint8 ``(H, W, channels)``, ``channels`` being 1 or 3; of 16-bit values ``levels``
    becomes 0 to 255.

    Raises:
        Unreadable: the file is missing, empty, truncated, too large, or no image.
    """
    return in_channels(open_pixels(source, max_pixels, levels), channels)


def open_pixels(source: bytes | Path | str, max_pixels: int, levels: Levels = FULL) -> Pixels:
    """Decode to uint8 ``(H, W, 1)`` (grey) or ``(H, W, 3)``, as the source has it, under the rules
    above.
    """
    content = whole(source, max_pixels)
    pixels = plain_jpeg(content, max_pixels)
    if pixels is not None:
        return pixels
    image = open_image(content, max_pixels, levels)
    return to_array(image, 1 if image.mode == "L" else 3)


def open_image(source: bytes | Path | str, max_pixels: int, levels: Levels = FULL) -> Image.Image:
    """The same as a Pillow image of mode ``L`` or ``RGB``, decoded by Pillow."""
    content = whole(source, max_pixels)
    if not content:
        raise Unreadable("empty file")
    try:
        opened = Image.open(io.BytesIO(content), formats=formats_of(content))
        width, height = opened.size
        if width * height > max_pixels:
            raise Unreadable(
                f"{width} x {height} pixels, over the limit of {max_pixels} (ingest.max_pixels)"
            )
        image = (
            _in_levels(opened, content, levels) if levels != FULL and is_deep(opened) else opened
        )
        image.load()
        return _plain(_upright(image), levels)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("not an image in a known format") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"far over the limit of {max_pixels} pixels (ingest.max_pixels)") from None
    except Exception as error:  # a decoder fed a damaged file may raise anything
        text = _ADDRESS.sub("", str(error)).strip() or type(error).__name__
        raise Unreadable(f"damaged: {text}") from None


def whole(source: bytes | Path | str, max_pixels: int) -> bytes:
    """The bytes of an image file; of more than any image of ``max_pixels`` has nothing is read."""
    return source if isinstance(source, bytes) else read_file(source, BYTES_PER_PIXEL * max_pixels)


def read_file(path: Path | str, limit: int) -> bytes:
    """The bytes of a file.

    Raises:
        Unreadable: it cannot be opened, is a pipe or a device (which might never end), or has over
            ``limit`` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("not a regular file")
            if status.st_size > limit:
                raise Unreadable(
                    f"{status.st_size} bytes, more than an image of ingest.max_pixels has"
                )
            content = os.read(descriptor, status.st_size + 1)
            while len(content) < status.st_size and (
                more := os.read(descriptor, status.st_size - len(content))
            ):
                content += more
            return content
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or type(error).__name__}") from None


def probe(source: bytes | Path | str | Pixels) -> tuple[int, int, int, bool]:
    """Width, height, channels (1 grey, 3 colour) and whether they have over 8 bits, from the
    header, before rotation.
    """
    if isinstance(source, np.ndarray):
        return source.shape[1], source.shape[0], source.shape[2], False
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else _regular(source) as file,
            Image.open(file, formats=(*FORMATS, "TGA")) as image,
        ):
            grey = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
            return image.width, image.height, 1 if grey else 3, is_deep(image)
    except Exception as error:  # as above: a damaged header may raise anything
        raise Unreadable(type(error).__name__) from None


def to_array(image: Image.Image, channels: int) -> Pixels:
    """A mode ``L`` or ``RGB`` image as uint8 ``(H, W, channels)``; colour becomes grey by luma,
    grey is repeated.
    """
    mode = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels[:, :, None] if channels == 1 else pixels


def in_channels(pixels: Pixels, channels: int) -> Pixels:
    """``(H, W, 1 or 3)`` as ``(H, W, channels)``, by the same rules."""
    if pixels.shape[2] == channels:
        return pixels
    return to_array(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels), channels)


def content_id(pixels: Pixels) -> str:
    """sha256 over the shape and the decoded, upright, full-size pixels ``(H, W, C)`` in the
    channels of the store.
    """
    height, width, channels = pixels.shape
    return hashlib.sha256(f"{height}x{width}x{channels}:".encode() + pixels.tobytes()).hexdigest()


def resize(image: Pixels, size: int, interpolation: Interpolation = STORE_INTERPOLATION) -> Pixels:
    """Scale the shorter side to ``size`` with antialiasing and keep the centre square: ``(H, W,
    C)`` to ``(size, size, C)``.
    """
    height, width, channels = image.shape
    if height == width == size:
        return image
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    scaled = np.asarray(
        picture.resize(
            (size, size), _FILTERS[interpolation], box=(left, top, left + side, top + side)
        )
    )
    return scaled[:, :, None] if channels == 1 else scaled


def _regular(path: Path | str) -> BinaryIO:
    """Open a file without waiting for anyone: a named pipe would wait for a writer."""
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise Unreadable("not a regular file")


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)


def _upright(image: Image.Image) -> Image.Image:
    if image.format != "TIFF" and _EXIF.isdisjoint(image.info):
        return image  # nothing to parse, as in most files of a large set
    if image.getexif().get(_ROTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _in_levels(image: ImageFile, content: bytes, levels: Levels) -> Image.Image:
    """A colour image of 16 bits in 8; others as they are."""
    values = deep_values(image, Image.open(io.BytesIO(content), formats=formats_of(content)))
    if values is None:
        return image
    scaled = Image.fromarray(to_bytes(values, levels))
    if image.mode == "RGBA":
        scaled.putalpha(image.getchannel("A"))
    scaled.info, scaled.format = image.info, image.format
    return ImageOps.exif_transpose(scaled) if image.getexif().get(_ROTATION, 1) != 1 else scaled


def deep_range(content: bytes, max_pixels: int) -> tuple[int, int] | None:
    """The lowest and the highest value of an image of 16 bits; ``None`` of any other, and of one
    that cannot be read.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=formats_of(content))
        if image.width * image.height > max_pixels or not is_deep(image):
            return None
        values = deep_values(image, Image.open(io.BytesIO(content), formats=formats_of(content)))
        array = np.asarray(image) if values is None else values
        return int(array.min()), int(array.max())
    except Exception:  # a decoder fed a damaged file may raise anything; ingest names the reason
        return None


def _plain(image: Image.Image, levels: Levels) -> Image.Image:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "F":
        raise Unreadable("floating-point pixels have no agreed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return _eight_bits(image, levels)
    if image.mode in ("LA", "La"):
        return _on_white(image).convert("L")
    if image.mode in ("PA", "RGBA", "RGBa") or "transparency" in image.info:
        flat = _on_white(image)
        return flat.convert("L") if image.mode == "L" else flat
    return image.convert("RGB")


def _eight_bits(image: Image.Image, levels: Levels) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable("32-bit pixels outside 0..65535: save it with 8 or 16 bits")
    return Image.fromarray(to_bytes(values, levels))


def _on_white(image: Image.Image) -> Image.Image:
    colours = image.convert("RGBA")
    flat = Image.new("RGBA", colours.size, (255, 255, 255, 255))
    flat.alpha_composite(colours)
    return flat.convert("RGB")
