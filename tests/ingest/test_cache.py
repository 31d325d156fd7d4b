"""Adding images decodes those and no others, and the result is what a fresh ingest would have
written.
"""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core import paths
from stages.core.data import folders, shards
from stages.core.data.sources import sources
from stages.core.image import pixel_store
from stages.core.image.pixel_store import SHARDS
from stages.ingest import collect, decode_task
from stages.ingest.auto_settings import Store
from stages.ingest.cache import Decoded
from tests.support.images import (
    DIGITS,
    class_folders,
    damaged_files,
    digit,
    encoded,
    params_with,
    run_stage,
    save,
)


@pytest.fixture
def counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pixel_store, "PIECE", 700)
    monkeypatch.setattr(shards, "LEAST_BYTES", 4 * 32 * 32)
    monkeypatch.setattr(collect, "CHUNK_BYTES", 5 * 32 * 32)
    decoded: list[str] = []
    real = decode_task.decode_chunk
    monkeypatch.setattr(
        decode_task, "decode_chunk", lambda task: (decoded.extend(task.handles), real(task))[1]
    )
    return decoded


def ingest(source: Path, **changes) -> dict[str, bytes]:
    run_stage(
        "ingest", params_with(ingest={"source": f"folder:{source}", "channels": 1, **changes})
    )
    return {
        str(file): file.read_bytes() for file in sorted(paths.POOL.rglob("*")) if file.is_file()
    }


def test_only_what_is_new_or_changed_is_decoded_and_nothing_else_differs(counted, tmp_path):
    source = class_folders(tmp_path / "in", per_class=15)
    damaged_files(source)
    ingest(source)
    assert len(counted) == 45 + 7
    counted.clear()
    first = ingest(source)
    assert [Path(handle).name for handle in counted] == ["gone.png"]

    counted.clear()
    fresh = np.flatnonzero(DIGITS.target == 1)[20:26]
    for number in fresh:
        save(digit(number), source / "1" / f"{number:04}.png")
    (source / "0" / "0000.png").unlink()
    save(digit(300), source / "2" / "0002.png")
    (source / "2" / "0012.png").rename(source / "2" / "renamed.png")
    grown = ingest(source)
    names = {Path(handle).name for handle in counted}
    assert names == {f"{number:04}.png" for number in fresh} | {"0002.png", "gone.png"}
    assert grown != first
    shutil.rmtree(paths.STATE)
    shutil.rmtree(paths.POOL)
    assert ingest(source) == grown


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
def test_shards_in_which_nothing_is_new_are_taken_over_and_not_written_again(
    counted, tmp_path, kind
):
    source = class_folders(tmp_path / "in", per_class=60)
    ingest(source, store=kind)
    before = {file.stat().st_ino for file in paths.POOL_PIXELS.iterdir() if file.suffix in SHARDS}
    for number in np.flatnonzero(DIGITS.target == 1)[70:73]:
        save(digit(number), source / "1" / f"{number:04}.png")
    counted.clear()
    grown = ingest(source, store=kind)
    assert len(counted) == 3
    after = [file.stat().st_ino for file in paths.POOL_PIXELS.iterdir() if file.suffix in SHARDS]
    assert len(after) > 20
    assert 1 <= sum(number not in before for number in after) <= 3
    shutil.rmtree(paths.STATE)
    shutil.rmtree(paths.POOL)
    assert ingest(source, store=kind) == grown


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 8), max_size=12)
)
def test_contents_are_found_as_a_plain_search_finds_them(before, now):
    """Of equal ones the first stands for the first: so a shard with copies in it is still
    recognised as a whole.
    """

    def contents(numbers: list[int]) -> np.ndarray:
        """0 is unknown; 5 and 6 begin with the same bytes."""
        hashes = {
            number: bytes([5 if number == 6 else number] * 16 + [number] * 16)
            for number in range(9)
        }
        return np.frombuffer(b"".join(hashes[number] for number in numbers), np.uint8).reshape(
            -1, 32
        )

    found = Decoded(None, None, contents(before)).find(contents(now)).tolist()
    for place, number in enumerate(now):
        having = [row for row, other in enumerate(before) if other == number and number]
        if number in (5, 6) and {5, 6} <= {*before, *now}:
            assert found[place] in [
                *having,
                -1,
            ]  # a miss costs decoding it once more, a wrong row would be a wrong image
        elif having:
            nth = now[:place].count(number)
            assert found[place] in (having[nth : nth + 1] or having)
        else:
            assert found[place] == -1


def test_other_settings_or_a_broken_cache_decode_everything(counted, tmp_path):
    source = class_folders(tmp_path / "in", per_class=5)
    ingest(source)
    counted.clear()
    ingest(source, store_size=64)
    assert len(counted) == 15
    assert len(list(paths.CACHE.glob("decoded-*"))) == 1
    for file in paths.CACHE.glob("decoded-*/*"):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[: len(content) // 2])
    counted.clear()
    ingest(source, store_size=64)
    assert len(counted) == 15


def write_tar(path: Path, numbers) -> None:
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            content = encoded(digit(number), "PNG")
            info = tarfile.TarInfo(f"{number % 2}/{number:04}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_parquet(path: Path, numbers) -> None:
    images = [{"bytes": encoded(digit(number), "PNG"), "path": None} for number in numbers]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(
        pa.table({"image": pa.array(images, kind), "label": [number % 2 for number in numbers]}),
        path,
    )


@pytest.mark.parametrize(("kind", "write"), [("tar", write_tar), ("parquet", write_parquet)])
def test_of_an_archive_that_grew_only_the_new_members_are_decoded(counted, tmp_path, kind, write):
    """One shard is rewritten with more images in another order, one is new, one stays as it was."""
    folder = tmp_path / "shards"
    folder.mkdir()
    write(folder / f"a.{kind}", range(20))
    write(folder / f"b.{kind}", range(20, 30))

    def run() -> dict[str, bytes]:
        run_stage("ingest", params_with(ingest={"source": f"{kind}:{folder}", "channels": 1}))
        return {
            str(file): file.read_bytes() for file in sorted(paths.POOL.rglob("*")) if file.is_file()
        }

    run()
    assert len(counted) == 30
    counted.clear()
    run()
    assert counted == []
    write(folder / f"a.{kind}", [*range(40, 45), *range(19, -1, -1)])
    write(folder / f"c.{kind}", range(50, 53))
    grown = run()
    assert len(counted) == 5 + 3
    shutil.rmtree(paths.STATE)
    shutil.rmtree(paths.POOL)
    assert run() == grown
    assert len(list(paths.CACHE.glob("members-*/*.npy"))) == 3


def test_two_archives_of_one_folder_do_not_make_each_other_forgotten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "SETTLED", -(10**18))  # the files were written a moment ago
    for name, numbers in {"a": range(20), "b": range(20, 30)}.items():
        write_tar(tmp_path / f"{name}.tar", numbers)
    read: list[str] = []
    real = folders._hash_file
    monkeypatch.setattr(
        folders, "_hash_file", lambda path: (read.append(Path(path).name), real(path))[1]
    )
    several = [{"from": f"tar:{tmp_path / name}.tar", "name": name} for name in "ab"]
    for expected in (["a.tar", "b.tar"], []):
        read.clear()
        run_stage("ingest", params_with(ingest={"source": several, "channels": 1}))
        assert read == expected
        assert len(list(paths.CACHE.glob("members-*/*.npy"))) == 2


def test_of_a_store_of_jpegs_too_only_what_is_new_is_decoded_and_made(counted, tmp_path):
    source = class_folders(tmp_path / "in", per_class=15)
    manifest = str(paths.POOL_MANIFEST)
    exact = ingest(source)
    lossy = ingest(source, store="jpeg")
    assert lossy[manifest] == exact[manifest]
    assert str(paths.POOL_PIXELS / "00000.jpgs") in lossy
    counted.clear()
    assert ingest(source, store="jpeg") == lossy
    assert counted == []
    fresh = np.flatnonzero(DIGITS.target == 1)[20:26]
    for number in fresh:
        save(digit(number), source / "1" / f"{number:04}.png")
    (source / "0" / "0000.png").unlink()
    grown = ingest(source, store="jpeg")
    assert {Path(handle).name for handle in counted} == {f"{number:04}.png" for number in fresh}
    shutil.rmtree(paths.STATE)
    shutil.rmtree(paths.POOL)
    assert ingest(source, store="jpeg") == grown
    (source / "0" / "0000.png").unlink(missing_ok=True)
    for number in fresh:
        (source / "1" / f"{number:04}.png").unlink()
    save(digit(0), source / "0" / "0000.png")
    assert ingest(source) == exact


def test_a_file_that_was_broken_only_while_it_was_read_gets_another_chance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "in", per_class=4)
    sound = {
        name: (source / name).read_bytes() for name in ("0/0000.png", "1/0001.png", "2/0002.png")
    }
    params = params_with(ingest={"source": f"folder:{source}"})
    listed = collect.list_sources(sources(params.ingest), params)
    (source / "0" / "0000.png").unlink()
    (source / "1" / "0001.png").write_bytes(sound["1/0001.png"][:60])
    (source / "2" / "0002.png").write_bytes(encoded(digit(300), "PNG"))
    lost = collect.decode_images(listed, Store(32, 1), 10**6, tmp_path / "a", tmp_path / "cache")
    assert lost["reason"].notna().sum() == 2
    for name, content in sound.items():
        (source / name).write_bytes(content)
    found = collect.decode_images(listed, Store(32, 1), 10**6, tmp_path / "a", tmp_path / "cache")
    fresh = collect.decode_images(listed, Store(32, 1), 10**6, tmp_path / "b", tmp_path / "other")
    assert found["reason"].isna().all()
    assert found.equals(fresh)
    assert (tmp_path / "a" / "00000.bin").read_bytes() == (
        tmp_path / "b" / "00000.bin"
    ).read_bytes()


def test_where_what_was_decoded_cannot_be_kept_the_stage_says_so_and_ends_well(
    counted, tmp_path, monkeypatch, capsys
):
    source = class_folders(tmp_path / "in", per_class=5)
    first = ingest(source)
    shutil.rmtree(paths.STATE)
    shutil.rmtree(paths.POOL)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(collect, "keep", full)
    assert ingest(source) == first
    assert (
        "the decoded images cannot be kept, so the next ingest decodes them all again:"
        " [Errno 28] No space left on device" in capsys.readouterr().out
    )


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
def test_a_store_that_was_changed_by_hand_is_not_taken_for_what_was_decoded(
    tmp_path, monkeypatch, kind
):
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "in", per_class=10)
    first = ingest(source, store=kind)
    shard = next(file for file in paths.POOL_PIXELS.iterdir() if file.suffix in SHARDS)
    with shard.open("r+b") as file:
        file.seek(100)
        file.write(bytes([file.read(1)[0] ^ 255]))
    assert ingest(source, store=kind) == first


def test_a_folder_read_for_the_first_time_is_read_once(counted, tmp_path, monkeypatch):
    """Its hashes, and the fingerprint, are those of a run that hashed every file before it decoded
    any.
    """
    source = class_folders(tmp_path / "in", per_class=15)
    damaged_files(source)
    (source / "1" / "empty.png").write_bytes(b"")
    before = ingest(source)
    fingerprint = paths.FINGERPRINT.read_bytes()
    shutil.rmtree(paths.STATE)
    shutil.rmtree(paths.POOL)
    paths.FINGERPRINT.unlink(missing_ok=True)

    monkeypatch.setattr(collect, "WORTH_A_WORKER", 10)
    monkeypatch.setattr(
        collect, "ordered_map", lambda function, tasks, workers, rescue: map(function, tasks)
    )
    monkeypatch.setattr(folders, "SETTLED", -(10**18))  # the files were written a moment ago
    hashed: list[str] = []
    real = folders._hash_file
    monkeypatch.setattr(
        folders, "_hash_file", lambda path: (hashed.append(Path(path).name), real(path))[1]
    )
    counted.clear()
    assert ingest(source) == before
    assert paths.FINGERPRINT.read_bytes() == fingerprint
    assert "0000.png" in [Path(handle).name for handle in counted] and "0000.png" not in hashed

    counted.clear()
    hashed.clear()
    assert ingest(source) == before
    assert [Path(handle).name for handle in counted] == ["gone.png"] and not hashed
