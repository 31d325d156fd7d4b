"""``compare`` two versions and ``suggest`` an encoder, on what a real run registered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.adapters.dvc.hashes import hash_of
from flows.adapters.mlflow.store import Store
from flows.registry import registration, versions
from flows.registry.versions import CHAMPION, CLASSIFIER, ENCODER
from flows.serving.images import Folder
from stages.core.errors import ConfigError
from stages.core.metrics.intervals import mcnemar, paired_bootstrap
from stages.core.models.artifact import Classifier, load_classifier, save_model
from tests.support.in_folder import Inside

CHAMPION_IS = f"{CLASSIFIER}@{CHAMPION}"


@pytest.fixture(scope="module")
def second(registered: Any, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Register a second classifier that confuses two classes the champion tells apart; it was never
    evaluated.
    """
    directory = tmp_path_factory.mktemp("second") / "model"
    model = load_classifier(registered.root / "models/finetuned")
    head = model.network.head
    swap = list(range(len(model.classes)))
    swap[3], swap[8] = 8, 3
    head.weight.data, head.bias.data = head.weight.data[swap], head.bias.data[swap]
    save_model(directory, model.network, model.config, model.preprocess)
    with Inside(registered.root):
        store = Store.open()
        run = versions.resolve(store, CHAMPION_IS).stage_run
        registration.register(store, CLASSIFIER, directory, hash_of(directory), run, {})
    return load_classifier(directory)


def test_compare_says_what_each_knows_that_the_other_does_not(
    registered: Any, second: Classifier, tmp_path: Path
) -> None:
    done = registered.rootstock(
        "compare", CHAMPION_IS, f"{CLASSIFIER}@2", "--json", "--csv", str(tmp_path / "both.csv")
    )
    assert done.code == 0, done
    found = json.loads(done.out)
    table = pd.read_csv(tmp_path / "both.csv", dtype=str)
    a, b = (table[side] == table["label"] for side in ("first", "second"))
    assert found["images"] == len(table) > 300 and found["reevaluated"] is True
    assert found["a"]["accuracy"]["value"] == pytest.approx(a.mean())
    expected = paired_bootstrap(a, b, 10_000, 0)
    assert found["difference"] == {
        "value": expected.value,
        "low": expected.low,
        "high": expected.high,
    }
    assert found["difference"]["low"] > 0 and found["verdict"] == "A is better than B"
    assert found["p_value"] == pytest.approx(mcnemar(a, b))
    assert (
        found["a"]["only"] == table["id"][a & ~b].tolist()
        and found["b"]["only"] == table["id"][b & ~a].tolist()
    )
    classes = {row["name"]: row for row in found["classes"]}
    assert {name for name, row in classes.items() if row["difference"]["low"] > 0} == {"3", "8"}
    assert classes["3"]["second"] < 0.2 < 0.6 < classes["3"]["first"]
    shown = registered.rootstock("compare", CHAMPION_IS, f"{CLASSIFIER}@2", "--images", "2").out
    assert (
        "A is better than B" in shown
        and f"{int((a & ~b).sum())} images that A gets right and B does not" in shown
    )
    assert "digits" in shown, "images are named as the manifest names them"


def test_a_version_compared_with_itself_is_refused(registered: Any) -> None:
    done = registered.rootstock("compare", CHAMPION_IS, f"{CLASSIFIER}@1")
    assert done.code == 2 and "the same version" in done.err


def test_an_encoder_is_not_compared_by_what_a_classifier_answered(registered: Any) -> None:
    done = registered.rootstock("compare", CHAMPION_IS, f"{ENCODER}@frozen-best")
    assert done.code == 2 and "rootstock-encoder answers no class" in done.err


def test_suggest_ranks_the_registered_encoders(registered: Any, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(240):
        place = tmp_path / "mine" / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).resize((20, 20)).save(
            place / f"{number}.png"
        )
    (tmp_path / "mine/0/broken.png").write_bytes(b"no image")
    done = registered.rootstock("suggest", str(tmp_path / "mine"), "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    names = [row["encoder"] for row in found["ranking"]]
    assert len(names) == 4 and {"raw pixels", CHAMPION_IS} < set(names)
    with Inside(registered.root):
        store = Store.open()
        ranked = {
            versions.resolve(store, name).number for name in names if name.startswith(ENCODER)
        }
        assert ranked == {version.number for version in versions.every(store, ENCODER)}
    scores = [row["logme"] for row in found["ranking"]]
    assert (
        scores == sorted(scores, reverse=True)
        and found["images"] == 240
        and found["labelled"] <= 200
    )
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in (tmp_path / "mine").rglob("*.png"):
        shutil.copy(file, flat / f"{file.parent.name}-{file.name}")
    plain = registered.rootstock("suggest", str(flat)).out
    assert "ranked by RankMe: no labels" in plain
    pool = registered.rootstock("suggest", "WORKDIR", "--images", "300")
    assert pool.code == 0 and "300 images; ranked by LogME" in pool.out


def test_a_folder_is_labelled_as_ingest_labels_it(tmp_path: Path) -> None:
    """By the class folder below the root or below a split, however deep the image lies; nothing
    inside ``unlabelled``.
    """
    for name in (
        "train/cat/2021/1.png",
        "train/cat/2022/1.png",
        "test/dog/1.png",
        "unlabelled/3.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    found = Folder(tmp_path, 20)
    assert (found.classes, found.labels.tolist()) == (2, [1, 0, 0, -1])
    with pytest.raises(ConfigError, match=r"1\.png is a file, not a folder"):
        Folder(tmp_path / "train/cat/2021/1.png", 20)


def test_suggest_refuses_a_folder_without_images(registered: Any, tmp_path: Path) -> None:
    done = registered.rootstock("suggest", str(tmp_path))
    assert done.code == 2 and "has no images" in done.err
