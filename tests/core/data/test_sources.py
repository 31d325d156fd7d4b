import hashlib
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from stages.core import paths, scan
from stages.core.data import folders
from stages.core.data.sources import check_source, fingerprint, parse, write_fingerprint
from stages.core.errors import ConfigError
from stages.core.params import load_params

ROOT = paths.PARAMS.resolve().parent
PARAMS = load_params(ROOT / "params.yaml")


def ingest(source: object):
    return PARAMS.ingest.model_copy(update={"source": str(source)})


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/2.png"]):
        image(tmp_path / "data" / name, number)
    return tmp_path / "data"


def test_sources_are_parsed_or_refused_in_one_line():
    assert parse("folder:~/x").kind == "folder"
    assert parse("digits").name == "digits"
    for wrong, hint in {
        "digit": "did you mean 'digits'",
        "folder:": "needs a path",
        "digits:x": "no argument",
        "": "use digits",
    }.items():
        with pytest.raises(ConfigError, match=hint):
            parse(wrong)


def test_every_kind_of_change_changes_the_fingerprint_and_undoing_it_restores_it(folder):
    source = ingest(f"folder:{folder}")
    before = fingerprint(source)
    assert fingerprint(source) == before

    def add():
        image(folder / "cat" / "3.png", 9)

    def change():
        image(folder / "cat" / "1.png", 200)

    def remove():
        (folder / "dog" / "1.png").unlink()

    def rename():
        (folder / "dog" / "1.png").rename(folder / "dog" / "one.png")

    def swap():
        (folder / "cat" / "1.png").rename(folder / "t")
        (folder / "cat" / "2.png").rename(folder / "cat" / "1.png")
        (folder / "t").rename(folder / "cat" / "2.png")

    def note():
        (folder / "notes.txt").write_text("x")

    seen = [before]
    backup = folder.with_name("backup")
    shutil.copytree(folder, backup)
    for what in (add, change, remove, rename, swap, note):
        what()
        seen.append(fingerprint(source))
        shutil.rmtree(folder)
        shutil.copytree(backup, folder)
        assert fingerprint(source) == before
    assert len({str(value) for value in seen}) == len(seen)


def test_an_edit_that_keeps_size_and_modification_time_is_seen(folder):
    source = ingest(f"folder:{folder}")
    file = folder / "cat" / "1.png"
    before, stamp = fingerprint(source), file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert file.stat().st_mtime_ns == stamp.st_mtime_ns
    assert fingerprint(source) != before


def test_settled_files_are_not_read_again(folder, monkeypatch):
    monkeypatch.setattr(folders, "SETTLED", -(10**12))
    source = ingest(f"folder:{folder}")
    before = fingerprint(source)
    read = []
    real = folders._hash_files
    monkeypatch.setattr(
        folders, "_hash_files", lambda listing, rows: (read.extend(rows), real(listing, rows))[1]
    )
    assert fingerprint(source) == before
    assert read == []
    image(folder / "cat" / "2.png", 77)
    fingerprint(source)
    assert read == [1]


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies_or_on_the_cache(folder, tmp_path):
    before = fingerprint(ingest(f"folder:{folder}"))
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert fingerprint(ingest(f"folder:{tmp_path}/elsewhere")) == before
    for file in paths.CACHE.iterdir():
        file.write_bytes(file.read_bytes()[:50])
    assert fingerprint(ingest(f"folder:{folder}")) == before


def test_the_fingerprint_file_is_touched_only_when_its_content_changes(folder):
    params = PARAMS.model_copy(update={"ingest": ingest(f"folder:{folder}")})
    stamp = write_fingerprint(params).stat()
    time.sleep(0.01)
    assert write_fingerprint(params).stat().st_ino == stamp.st_ino
    image(folder / "cat" / "4.png")
    assert write_fingerprint(params).stat().st_ino != stamp.st_ino
    assert sorted(path.name for path in paths.STATE.iterdir()) == ["cache", "fingerprint.json"]


def test_links_are_followed_but_loops_and_hidden_files_are_not(folder):
    (folder / "cat" / "up").symlink_to(folder)
    (folder / "cat" / "self.png").symlink_to("self.png")
    (folder / "cat" / "gone.png").symlink_to("nowhere.png")
    (folder / "linked").symlink_to(folder / "dog")
    image(folder / ".thumbs" / "x.png")
    listing = folders.walk(folder)
    assert listing.files == [
        "cat/1.png", "cat/2.png", "cat/gone.png", "cat/self.png",
        "dog/1.png", "dog/deep/2.png", "linked/1.png", "linked/deep/2.png",
    ]  # fmt: skip
    assert (listing.stats[2:4] == -1).all()


def test_a_source_of_one_file_looks_at_that_file_and_at_nothing_beside_it(tmp_path, monkeypatch):
    """What else lies in the folder may be a whole home directory."""
    for name in ("images.tar", ".hidden.tar", "no extension"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setattr(scan, "_entries", lambda folder: pytest.fail(f"{folder} was listed"))
    for name in ("images.tar", ".hidden.tar", "no extension"):
        source = parse(f"tar:{tmp_path / name}")
        assert (source.listing.root, source.listing.files) == (tmp_path, [name])
        assert source.contents.tobytes() == hashlib.sha256(name.encode()).digest()


def test_unusable_folders_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    image(tmp_path / "one" / "cat" / "1.png")
    image(tmp_path / "split" / "train" / "cat" / "1.png")
    image(tmp_path / "split" / "test" / "cat" / "1.png")
    image(tmp_path / "above" / "images" / "cat" / "1.png")
    image(tmp_path / "above" / "images" / "dog" / "1.png")
    shutil.copytree(tmp_path / "above", tmp_path / "far" / "b" / "c")
    cases = {
        "none": "does not exist",
        "file": "is a file",
        "empty": "has no images",
        "one": "has one class, 'cat'",
        "split": "has one class, 'cat'",
        "above": "did you mean folder:above/images",
        "far": "did you mean folder:far/b/c/images",
    }
    for name, words in cases.items():
        with pytest.raises(ConfigError, match=words) as caught:
            check_source(ingest(f"folder:{name}"))
        assert "\n" not in str(caught.value)
    image(tmp_path / "flat" / "1.png")
    image(tmp_path / "one" / "dog" / "1.png")
    for fine in ("flat", "one", "above/images"):
        check_source(ingest(f"folder:{fine}"))
    check_source(ingest("digits").model_copy(update={"source": "digits"}))
