"""Images of more than eight bits: the range in use becomes the whole range."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.models.inference import ImageReader
from tests.ingest.faults import ingest
from tests.support.images import digit, save


@pytest.mark.parametrize(("bits", "offset"), [(10, 0), (12, 0), (14, 0), (16, 0), (9, 30000)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_range_in_use_becomes_the_whole_range(here, capsys, bits, offset, kind):
    for label in range(2):
        for number in range(8):
            grey = (
                np.asarray(digit(number * 2 + label)).astype(np.uint32) * ((1 << bits) - 1) // 255
                + offset
            )
            save(
                Image.fromarray(grey.astype(np.uint16)),
                here / "in" / str(label) / f"{number}.{kind.lower()}",
            )
    rows = ingest(here / "in", store_size=32, channels=1)
    stored = PixelStore.open()
    assert (rows["status"] == "ok").all()
    wanted = np.asarray(digit(0)).astype(int)
    assert np.abs(stored.array(np.array([0]))[0, 0].astype(int) - wanted).max() <= 31
    assert stored.array(np.arange(len(rows))).max() >= 230
    assert ("images of 16 bits (16 looked at)" in capsys.readouterr().out) == (bits < 16)


def test_colour_of_twelve_bits_is_read_at_full_depth_and_a_model_sees_what_was_trained_on(here):
    def deep_png(number: int) -> bytes:
        """RGB of 16 bits, which Pillow cannot write: chunk by chunk."""
        import struct
        import zlib

        grey = np.asarray(digit(number)).astype(np.uint16) * 16
        colour = np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
        raw = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colour)

        def chunk(name: bytes, content: bytes) -> bytes:
            return (
                struct.pack(">I", len(content))
                + name
                + content
                + struct.pack(">I", zlib.crc32(name + content))
            )

        header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
        parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    for label in range(2):
        for number in range(8):
            file = here / "in" / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(deep_png(number * 2 + label))
    ingest(here / "in", store_size=32)
    store = PixelStore.open()
    assert store.levels == (0, 4095)
    grey = np.asarray(digit(0))
    stored = store.array(np.array([0]))
    assert (stored[0] == np.stack([grey, grey[::-1], grey[:, ::-1]])).all()
    preprocess = Preprocess.from_pixels(store, np.arange(8))
    preprocess.write(here)
    (batch,) = ImageReader(Preprocess.read(here)).batches([deep_png(0)])
    assert (batch.numpy() == stored).all()


def test_the_range_is_settable_and_few_levels_are_told(here, capsys):
    for label in range(2):
        for number in range(8):
            grey = np.asarray(digit(number * 2 + label)).astype(np.uint16) * 16
            save(Image.fromarray(grey), here / "in" / str(label) / f"{number}.png")
    ingest(here / "in", sixteen_bit=[0, 65535])
    told = capsys.readouterr().out
    assert "only 16 of 256 levels are in use" in told
    assert "the only channel uses few levels, 0 to 15 of 0 to 255" in told
    ingest(here / "in", sixteen_bit=[0, 3825], store_size=32)
    assert PixelStore.open().array(np.arange(16)).max() == 255


# labels
