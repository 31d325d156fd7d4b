"""Not what is in a file but where it lies and what it is: pipes, devices, loops, torn archives,
huge members, odd names.
"""

import io
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.core import paths
from stages.core.data.folders import walk
from stages.core.data.manifest import Manifest
from stages.core.data.sources import sources
from stages.core.image.decode import Unreadable, open_image, read_file
from stages.core.image.pixel_store import PixelStore
from stages.ingest.auto_settings import Store
from stages.ingest.collect import decode_images, list_sources
from stages.ingest.decode import Task, decode_chunk
from stages.ingest.readers import tar
from tests.support.images import class_folders, digit, encoded, params_with, run_stage


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingest(source) -> Manifest:
    run_stage("ingest", params_with(ingest={"source": source, "labelled_fraction": 1}))
    return Manifest.read(paths.POOL_MANIFEST)


def test_links_to_pipes_and_devices_are_quarantined_and_nobody_waits(here):
    source = class_folders(here / "in", per_class=4)
    os.mkfifo(here / "pipe")
    (source / "0" / "pipe.png").symlink_to(here / "pipe")
    (source / "1" / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(source / "1" / "direct.png")
    rows = ingest(f"folder:{source}").frame.set_index("uri")
    assert len(rows) == 12 + 2
    assert set(rows.loc[rows["status"] == "quarantined", "reason"]) == {"not a regular file"}
    assert {"folder:0/pipe.png", "folder:1/endless.png"} == set(
        rows.index[rows["status"] == "quarantined"]
    )


def test_links_that_lead_in_circles_end(here):
    source = class_folders(here / "in", per_class=4)
    (source / "0" / "up").symlink_to(source)
    (source / "1" / "self").symlink_to("self")
    (source / "1" / "self.png").symlink_to("self.png")
    rows = ingest(f"folder:{source}").frame
    assert rows["uri"].is_unique
    odd = rows[rows["status"] == "quarantined"]
    assert odd["uri"].tolist() == ["folder:1/self.png"]
    assert "symbolic link" in odd["reason"].iloc[0]


def test_a_file_longer_than_any_image_is_not_read(here):
    file = here / "long.png"
    file.write_bytes(encoded(digit(1), "PNG"))
    os.truncate(file, 1 << 32)
    with pytest.raises(Unreadable, match="4294967296 bytes, more than an image"):
        open_image(file, 10**6)
    with pytest.raises(Unreadable, match="No such file"):
        read_file(here / "gone.png", 10)


def test_a_bomb_is_refused_before_it_is_decoded(here):
    bomb = encoded(Image.new("1", (20000, 20000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(Unreadable, match="over the limit of 1000000 pixels"):
        open_image(bomb, 10**6)


def test_members_of_a_tar_with_hostile_names_sizes_and_kinds(here):
    with tarfile.open(here / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("/etc/passwd.png", "../../up.png", "ok/\udce9.png", "a/b/../c.png"):
            content = encoded(digit(len(name)), "PNG")
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("odd.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    before = sorted(path.name for path in here.iterdir())
    rows = ingest(f"tar:{here / 'a.tar'}").frame
    assert (rows["status"] == "ok").all()
    assert set(rows["uri"]) == {
        "tar:a.tar//etc/passwd.png",
        "tar:a.tar/../../up.png",
        "tar:a.tar/ok/\\xe9.png",
        "tar:a.tar/a/b/../c.png",
    }
    assert not (here.parent / "up.png").exists()
    assert set(before) <= {path.name for path in here.iterdir()}
    chunk = decode_chunk(Task("tar", [(str(here / "a.tar"), 0, tar.LARGEST + 1)], 1, 16, 100))
    assert "over the limit" in str(chunk.reasons[0])


def test_rows_of_a_damaged_parquet_are_named_and_the_others_stay(here):
    images = [{"bytes": encoded(digit(number), "BMP"), "path": None} for number in range(40)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table(
        {"image": pa.array(images, kind), "label": [number % 2 for number in range(40)]}
    )
    file = here / "a.parquet"
    pq.write_table(table, file, row_group_size=20, compression="zstd", use_dictionary=False)
    content = bytearray(file.read_bytes())
    place = pq.ParquetFile(file).metadata.row_group(1).column(0).data_page_offset
    content[place : place + 400] = os.urandom(400)
    file.write_bytes(content)
    rows = ingest(f"parquet:{file}").frame
    assert len(rows) == 40
    assert (rows["status"].iloc[:20] == "ok").all()
    assert rows["reason"].iloc[20:].str.startswith("damaged: row group 1").all()


def test_thousands_of_files_in_one_folder_are_listed_once_and_in_order(here):
    for number in np.random.default_rng(0).permutation(5000):
        (here / f"{number:05}.png").touch()
    listing = walk(here)
    assert listing.files == [f"{number:05}.png" for number in range(5000)]
    assert listing.stats.shape == (5000, 4)


def test_names_that_lie_about_the_format_or_are_no_text_are_images_all_the_same(here):
    source = class_folders(here / "in", per_class=4)
    for name, kind in (
        ("png.jpg", "PNG"),
        ("jpeg.png", "JPEG"),
        ("webp.gif", "WEBP"),
        ("bmp.TIFF", "BMP"),
    ):
        (source / "0" / name).write_bytes(encoded(digit(40 + len(kind)), kind))
    odd = source / "1" / os.fsdecode(b"caf\xe9-\xff.png")
    odd.write_bytes(encoded(digit(60), "PNG"))
    folder = source / "2" / os.fsdecode(b"t\xeate")
    folder.mkdir()
    os.link(odd, folder / "copy.png")
    rows = ingest(f"folder:{source}").frame.set_index("uri")
    assert len(rows) == 12 + 6
    assert (rows["status"] == "ok").all()
    assert (
        rows.loc["folder:1/caf\\xe9-\\xff.png", "id"]
        == rows.loc["folder:2/t\\xeate/copy.png", "id"]
    )


def test_files_that_vanish_or_shrink_between_listing_and_decoding_are_rows_with_a_reason(here):
    source = class_folders(here / "in", per_class=4)
    params = params_with(ingest={"source": f"folder:{source}", "store_size": 32, "channels": 1})
    listed = list_sources(sources(params.ingest), params)
    (source / "0" / "0000.png").unlink()
    os.truncate(source / "1" / "0001.png", 60)
    os.truncate(source / "2" / "0002.png", 0)
    facts = decode_images(listed, Store(32, 1), 10**6, here / "pixels")
    lost = facts[facts["id"].isna()]
    assert lost["reason"].str.split(":").str[0].tolist() == [
        "cannot be read",
        "damaged",
        "empty file",
    ]
    black = PixelStore.open(here / "pixels").array(np.arange(12)).reshape(12, -1).max(axis=1) == 0
    assert np.flatnonzero(black).tolist() == lost.index.tolist()
