"""``rootstock map``: one page of points, drawn by Chromium, where like images are near."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from flows.serving import map as image_map
from stages.core.data.manifest import Manifest
from tests.flows.scenarios.test_pages import browse, needs_browser
from tests.support.toy_project import Project


@pytest.fixture
def page(asked: Project, tmp_path: Path) -> Path:
    file = tmp_path / "map.html"
    done = asked.rootstock("map", "--to", str(file))
    assert done.code == 0 and f"images by pca of rootstock-encoder version 1 in {file}" in done.out
    return file


def data_of(page: str) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_every_image_is_a_point_with_its_row_and_its_picture(asked: Project, page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"https?://", text), "it asks no network"
    data = data_of(text)
    frame = Manifest.read(asked.root / "data/curated/manifest.parquet").frame
    assert data["ids"] == frame["id"].tolist() and data["uris"] == frame["uri"].tolist()
    label = next(column for column in data["columns"] if column["name"] == "label")
    assert [label["names"][value] for value in label["values"]] == frame["label"].fillna(
        "none"
    ).tolist()
    sheet = Image.open(io.BytesIO(base64.b64decode(data["sheet"].partition(",")[2])))
    assert sheet.width == data["across"] * data["side"]
    assert (sheet.width // data["side"]) * (sheet.height // data["side"]) >= len(frame)


def test_places_are_the_first_two_principal_components() -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)) * [9, 5, 1, 1, 1, 1]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    expected = np.linalg.svd(centred, full_matrices=False)
    found = image_map.place(features, "pca", 0)
    np.testing.assert_allclose(
        np.abs(found), np.abs(expected[0][:, :2] * expected[1][:2]), atol=1e-8
    )
    np.testing.assert_allclose(np.abs(found), np.abs(PCA(2).fit_transform(unit)), atol=1e-8)


def test_like_images_are_near_each_other_in_tsne() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate(
        [rng.normal(size=(30, 8)) * 0.05 + np.eye(8)[kind] for kind in (0, 1)]
    )
    points = image_map.place(features, "tsne", 0)
    centres = [points[:30].mean(axis=0), points[30:].mean(axis=0)]
    spread = max(points[:30].std(), points[30:].std())
    assert np.linalg.norm(centres[0] - centres[1]) > spread


def test_a_layout_there_is_not_is_one_line(asked: Project, tmp_path: Path) -> None:
    done = asked.rootstock("map", "--layout", "tsen", "--to", str(tmp_path / "map.html"))
    assert done.code == 2 and "tsne" in done.err and done.err.count("\n") == 1


PROBE = """
<script>
addEventListener("error", e => document.body.setAttribute("data-error", e.message));
setTimeout(() => {
  const plot = document.getElementById("c");
  plot.dispatchEvent(new KeyboardEvent("keydown", { key: "n" }));
  document.getElementById("lasso").click();
  const box = plot.getBoundingClientRect();
  const at = (type, x, y) => plot.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + y, pointerId: 1 }));
  plot.setPointerCapture = () => {};
  at("pointerdown", 0, 0); at("pointermove", box.width, 0); at("pointermove", box.width, box.height);
  at("pointermove", 0, box.height); at("pointerup", 0, box.height);
}, 300);
</script>
"""  # noqa: E501


@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_chromium_draws_it_and_keys_and_lasso_work(page: Path, tmp_path: Path, width: int) -> None:
    data = data_of(page.read_text())
    page.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    dom = browse(f"file://{page}", tmp_path, f"--window-size={width},900")
    assert "<body data-error" not in dom
    label = next(column for column in data["columns"] if column["name"] == "label")
    assert dom.count("<li><span") == len(label["names"])
    assert f'<span id="count">{len(data["ids"])} images selected</span>' in dom
    assert data["uris"][0] in dom[dom.index('id="facts"') : dom.index('id="facts"') + 400]
