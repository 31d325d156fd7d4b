"""Whatever bytes a file holds: ingest never crashes, never loses a row, and says the same thing
twice.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.ingest.decode import Task, decode_chunk
from tests.support.images import digit, encoded

COLOUR = Image.merge("RGB", [digit(3), digit(4), digit(5)])
ORIGINALS = [
    *(encoded(COLOUR, kind) for kind in ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")),
    encoded(digit(6), "PNG"),
    encoded(COLOUR.quantize(32), "PNG"),
    encoded(COLOUR.convert("RGBA"), "PNG"),
    encoded(COLOUR.convert("CMYK"), "JPEG"),
    encoded(Image.fromarray(np.asarray(digit(7)).astype(np.uint16) * 257), "PNG"),
    encoded(digit(8), "GIF", save_all=True, append_images=[digit(9)]),
]
edit = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.integers(0, 255)),
    st.tuples(st.just("zero"), st.floats(0, 1), st.integers(1, 64)),
    st.tuples(st.just("header"), st.floats(0, 0.1), st.integers(1, 255)),
)


def mutated(content: bytes, edits: list[tuple[str, float, int]]) -> bytes:
    out = bytearray(content)
    for kind, where, value in edits:
        place = int(where * max(len(out) - 1, 0))
        if kind in ("flip", "header") and out:
            out[place] ^= value
        elif kind == "cut":
            del out[place:]
        elif kind == "insert":
            out[place:place] = bytes([value]) * 9
        elif kind == "zero":
            out[place : place + value] = bytes(len(out[place : place + value]))
    return bytes(out)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(ORIGINALS), st.lists(edit, max_size=4)), min_size=1, max_size=4
    )
)
def test_mutated_files_are_rows_with_pixels_or_a_reason(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("fuzz")
    handles = []
    for number, (content, edits) in enumerate(files):
        path = folder / f"{number}.jpg"
        path.write_bytes(mutated(content, edits))
        handles.append(str(path))
    task = Task("folder", handles, channels=3, size=16, max_pixels=100_000)
    chunk = decode_chunk(task)
    assert (
        len(chunk.ids)
        == len(chunk.reasons)
        == len(chunk.hashes)
        == len(chunk.pixels)
        == len(chunk.shapes)
        == len(files)
    )
    for row in range(len(files)):
        readable = chunk.ids[row] is not None
        assert readable == (chunk.reasons[row] is None) == (chunk.hashes[row] is not None)
        assert readable or (
            chunk.pixels[row].sum() == 0 and str(folder) not in str(chunk.reasons[row])
        )
        assert (chunk.shapes[row] > 0).all() == readable
    again = decode_chunk(task)
    assert (again.ids, again.reasons, again.hashes) == (chunk.ids, chunk.reasons, chunk.hashes)
    assert (again.pixels == chunk.pixels).all()


def test_a_file_that_vanishes_after_listing_is_named(tmp_path):
    chunk = decode_chunk(
        Task("folder", [str(tmp_path / "gone.png")], channels=1, size=16, max_pixels=100)
    )
    assert chunk.reasons == ["cannot be read: No such file or directory"]


def test_each_original_decodes_unharmed(tmp_path):
    handles = []
    for number, content in enumerate(ORIGINALS):
        (tmp_path / str(number)).write_bytes(content)
        handles.append(str(tmp_path / str(number)))
    assert decode_chunk(
        Task("folder", handles, channels=3, size=16, max_pixels=100_000)
    ).reasons == [None] * len(ORIGINALS)
