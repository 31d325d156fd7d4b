"""``rootstock embed`` and ``rootstock search``, asked of a registered encoder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.serving import sources
from stages.core.data.manifest import Manifest
from stages.core.models.inference import ImageEncoder
from tests.support.toy_project import Project


@pytest.fixture
def files(asked: Project) -> list[Path]:
    """The source images."""
    return sorted((asked.root.parent / "in").rglob("*.png"))


def expected(asked: Project, files: list[Path]) -> np.ndarray:
    """What the encoder's own code says of the files."""
    model = ImageEncoder(asked.root / "models/encoder")
    return model.features([file.read_bytes() for file in files])


def test_vectors_of_files_are_the_served_models_in_every_format(
    asked: Project, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH", 7)  # several row groups
    truth = expected(asked, files)
    for name in ("out.parquet", "out.npy", "out.csv"):
        done = asked.rootstock("embed", str(files[0].parents[1]), "--to", str(tmp_path / name))
        assert done.code == 0 and f"{len(files)} vectors of" in done.out, done
    table = pq.ParquetFile(tmp_path / "out.parquet")
    assert table.schema_arrow.metadata[b"rootstock.model"] == b"rootstock-encoder"
    frame = table.read().to_pandas()
    assert frame["image"].tolist() == list(map(str, files))
    np.testing.assert_allclose(np.stack(frame["features"]), truth, atol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.stack(frame["features"]))
    with (tmp_path / "out.images.csv").open() as about:
        assert [row["image"] for row in csv.DictReader(about)] == list(map(str, files))
    with (tmp_path / "out.csv").open() as lines:
        rows = list(csv.reader(lines))
    assert rows[0][:2] == ["image", "features.0"]
    read = np.array([row[1:] for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(read, np.stack(frame["features"]))


def test_the_pools_vectors_come_with_their_manifest_rows(asked: Project, tmp_path: Path) -> None:
    out = tmp_path / "pool.parquet"
    done = asked.rootstock("embed", "--data", "--to", str(out))
    assert done.code == 0, done
    frame = pq.ParquetFile(out).read().to_pandas()
    manifest = Manifest.read(asked.root / "data/curated/manifest.parquet").frame
    for column in ("id", "uri", "label", "split"):
        assert frame[column].tolist() == manifest[column].tolist()
    assert frame["keep"].tolist() == [False, *[True] * (len(manifest) - 1)]
    source = asked.root.parent / "in"
    files = [source / uri.removeprefix("folder:") for uri in frame["uri"]]
    np.testing.assert_allclose(np.stack(frame["features"]), expected(asked, files), atol=1e-5)


def test_a_damaged_file_is_named_and_the_rest_written(
    asked: Project, files: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    out = tmp_path / "some.npy"
    done = asked.rootstock("embed", str(files[0]), str(bad), str(files[1]), "--to", str(out))
    assert done.code == 2 and f"{bad}: " in done.err
    np.testing.assert_allclose(np.load(out), expected(asked, files[:2]), atol=1e-5)
    done = asked.rootstock("embed", str(bad), "--to", str(tmp_path / "none.parquet"))
    assert done.code == 2 and "none of the 1 images can be read" in done.err
    assert not list(tmp_path.glob("*none*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["embed"], "neither given"),
        (["embed", "a.png", "--data"], "both given"),
        (["embed", "--data", "--to", "out.pickle"], "must end in .parquet, .npy, .csv"),
        (["embed", "nowhere.png"], "does not exist"),
        (["embed", "--data", "--model", "rootstock-encoder@none"], "no version or alias 'none'"),
        (["search", "nowhere.png"], "nowhere.png is no file"),
        (["search", "params.yaml"], "params.yaml: not an image"),
    ],
)
def test_mistakes_are_one_line(asked: Project, arguments: list[str], told: str) -> None:
    done = asked.rootstock(*arguments)
    assert done.code == 2 and told in done.err, done
    assert len(done.err.strip().splitlines()) == 1


def test_search_finds_the_pools_nearest_images_by_cosine(
    asked: Project, files: list[Path], tmp_path: Path
) -> None:
    vectors = expected(asked, files)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit[5]
    best = np.argsort(-cosine, kind="stable")[:4]
    page = tmp_path / "page.html"
    for _ in ("computed", "kept"):
        done = asked.rootstock("search", str(files[5]), "-k", "4", "--json", "--html", str(page))
        assert done.code == 0, done
        found = json.loads(done.out)["nearest"]
        root = asked.root.parent / "in"
        named = [f"folder:{files[place].relative_to(root)}" for place in best]
        assert [row["uri"] for row in found] == named
        np.testing.assert_allclose([row["cosine"] for row in found], cosine[best], atol=1e-5)
        assert found[0]["label"] == files[5].parent.name
    assert len(list((asked.root / ".rootstock/cache/search").glob("*.npy"))) == 1
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 5 and named[1] in text
    assert "http" not in text and 'src="data:' in text
    table = asked.rootstock("search", str(files[5]), "-k", "2").out.splitlines()
    assert table[0].split() == ["cosine", "uri", "label", "split", "keep"]
    assert table[1].split()[:2] == ["1.0000", named[0]] and len(table) == 3


def test_search_in_a_folder_names_its_files(asked: Project, files: list[Path]) -> None:
    folder = files[0].parent
    done = asked.rootstock("search", str(files[3]), "--in", str(folder), "--json", "-k", "99")
    rows = json.loads(done.out)["nearest"]
    assert len(rows) == len(list(folder.iterdir()))
    assert rows[0]["image"] == str(files[3]) and rows[0]["cosine"] == pytest.approx(1)
