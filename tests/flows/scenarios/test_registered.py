"""What the registry holds after a run: classifier and encoders, their papers, their names, and no
pickle anywhere.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from flows.adapters.mlflow.store import Store
from flows.promotion import encoders
from flows.promotion.encoders import SCORES, VALIDATION, EncoderCandidate
from flows.registry import versions
from flows.registry.versions import (
    CHAMPION,
    CLASSIFIER,
    ENCODER,
    FINETUNE_BEST,
    FROZEN_BEST,
    ModelVersion,
)
from tests.support.in_folder import Inside
from tests.support.toy_project import Project

PICKLES = {bytes([0x80, protocol]) for protocol in (2, 3, 4, 5)}


@pytest.fixture(scope="module")
def store(registered: Any) -> Iterator[Store]:
    with Inside(registered.root):
        yield Store.open()


def test_no_artifact_is_a_pickle(registered: Any) -> None:
    files = [path for path in (registered.root / "mlruns").rglob("*") if path.is_file()]
    assert len([file for file in files if file.name == "weights.safetensors"]) >= 3
    assert not [
        path
        for path in files
        if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".npz"}
    ]
    assert not [path for path in files if path.read_bytes()[:2] in PICKLES]


def test_each_alias_is_the_best_on_validation(store: Store, registered: Any) -> None:
    table = pd.read_csv(
        registered.root / "reports/evaluate/table.csv", dtype={"labels_per_class": str}
    )
    everything = table[table["labels_per_class"] == "all"].set_index(["model", "protocol"])[
        "validation_accuracy"
    ]
    candidates = pd.read_csv(registered.root / "reports/finetune/candidates.csv")
    full = candidates[candidates["method"] == "full"].groupby("encoder")["validation_accuracy"]
    frozen = {name: everything[name, "linear"] for name in ("pretrained", "distilled")}
    tuned = {
        name: max(full.max()[name], everything[name, "full"])
        for name in ("pretrained", "distilled")
    }
    for alias, scores in {FROZEN_BEST: frozen, FINETUNE_BEST: tuned}.items():
        found = versions.resolve(store, f"{ENCODER}@{alias}")
        best = found.tags["rootstock.path"].removeprefix("models/")
        assert scores[best] == max(scores.values())
        assert best == "distilled" or scores["distilled"] < scores["pretrained"], (
            "at equal accuracy the smaller one"
        )
        assert float(found.tags[SCORES[alias]]) == pytest.approx(scores[best], abs=1e-5)
        assert f"{best} reaches" in found.tags[f"rootstock.alias_why.{alias}"]
    assert len(versions.every(store, ENCODER)) == 2


@pytest.mark.parametrize(
    "reference",
    [f"{CLASSIFIER}@{CHAMPION}", f"{ENCODER}@{FROZEN_BEST}", f"{ENCODER}@{FINETUNE_BEST}"],
)
def test_every_version_brings_its_papers(store: Store, reference: str) -> None:
    version = versions.resolve(store, reference)
    described = yaml.safe_load((version.folder / "MLmodel").read_text())
    assert described["metadata"]["preprocess"] == json.loads(
        (version.artifact / "preprocess.json").read_text()
    )
    assert {column["name"] for column in json.loads(described["signature"]["inputs"])} == {
        "image",
        "pixels",
    }
    assert described["saved_input_example_info"]["artifact_path"] == "input_example.json"
    assert (version.folder / "input_example.json").is_file()
    card = (version.folder / "documents/model_card.md").read_text()
    for expected in (
        version.digest,
        version.stage_run,
        version.tags["rootstock.data"],
        "## Preprocessing",
        "## Results",
    ):
        assert expected in card
    assert store.client.get_model_version(version.name, version.number).description.startswith(
        card[:1000]
    )
    if version.name == CLASSIFIER:
        accuracy = json.loads(Path("metrics/evaluate.json").read_text())["finetuned"]["accuracy"]
        assert f"| accuracy on the test images | {accuracy:.4f} (" in card
        gates = (version.folder / "documents/gates.md").read_text()
        assert "| lineage | pass | 7 runs," in gates and "artifacts verified" in gates
    else:
        assert "| pretrained | 0." in card and "frozen-best" in card


def test_a_datasheet_goes_with_the_model_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: Any
) -> None:
    from flows.promotion import model_card

    monkeypatch.setattr(model_card, "DATASHEET", tmp_path / "datasheet.md")
    directory = registered.root / "models/finetuned"
    assert set(model_card.documents(CLASSIFIER, directory, {}, "")) == {"model_card.md"}
    (tmp_path / "datasheet.md").write_text("# About these images")
    assert (
        model_card.documents(CLASSIFIER, directory, {}, "")["datasheet.md"]
        == "# About these images"
    )


def test_the_registered_encoder_gives_the_features_of_its_weights(store: Store) -> None:
    import mlflow.pyfunc

    from stages.core.image.pixel_store import PixelStore
    from stages.core.models.artifact import load_encoder

    images = PixelStore.open().gather(np.arange(20))
    model = mlflow.pyfunc.load_model(f"models:/{ENCODER}@{FROZEN_BEST}")
    answers = model.predict(
        pd.DataFrame({"pixels": [image.transpose(1, 2, 0) for image in images.numpy()]})
    )
    weights = versions.resolve(store, f"{ENCODER}@{FROZEN_BEST}").tags["rootstock.path"]
    expected = load_encoder(weights).encode(torch.as_tensor(images)).numpy()
    np.testing.assert_allclose(np.array(answers["features"].tolist()), expected, atol=1e-5)


def test_an_alias_moves_only_to_a_better_one_on_the_same_images(
    registered: Any, tmp_path: Path
) -> None:
    shutil.copytree(registered.root, tmp_path / "copy", symlinks=True)
    with Inside(tmp_path / "copy"):
        store = Store.open()
        holder = versions.resolve(store, f"{ENCODER}@{FROZEN_BEST}")
        other = next(one for one in versions.every(store, ENCODER) if one.number != holder.number)
        held, said = float(holder.tags[SCORES[FROZEN_BEST]]), []

        def offered(score: float) -> ModelVersion:
            best = EncoderCandidate(
                "other",
                Path("models/other"),
                other.digest,
                other.stage_run,
                1,
                {FROZEN_BEST: score},
            )
            return encoders.point(store, FROZEN_BEST, other, best, said.append)

        assert (
            offered(held).number == holder.number
            and offered(held - 0.1).number == holder.number
            and said == []
        )
        assert (
            offered(held + 0.01).number == other.number
            and f"version {holder.number} reached {held:.4f}" in said[0]
        )
        assert FROZEN_BEST in versions.get(store, ENCODER, other.number).aliases
        other.tag({VALIDATION: "other images"})
        back = EncoderCandidate(
            "pretrained",
            Path("models/pretrained"),
            holder.digest,
            holder.stage_run,
            1,
            {FROZEN_BEST: 0.1},
        )
        assert encoders.point(store, FROZEN_BEST, holder, back, said.append).number == holder.number
        assert "was chosen on other validation images" in said[1]


def test_a_dry_run_asks_every_gate_and_writes_nothing(registered: Any, tmp_path: Path) -> None:
    copy = Project(tmp_path / "copy")
    shutil.copytree(registered.root, copy.root, symlinks=True)
    with Inside(copy.root):
        store = Store.open()
        for name in (CLASSIFIER, ENCODER):
            store.client.delete_registered_model(name)

    def everything() -> list[str]:
        with sqlite3.connect(copy.root / "mlruns/mlflow.db") as database:
            return list(database.iterdump())

    before, files = everything(), sorted((copy.root / "mlruns/artifacts").rglob("*"))
    asked = copy.rootstock("promote", "--dry-run")
    assert asked.code == 0, asked
    assert re.search(r"(?m)^pass lineage +7 runs, \d+ artifacts verified", asked.out)
    assert (
        "the classifier of the workspace would become champion\ndry run: nothing was registered,"
        " tagged or moved" in asked.out
    )
    assert everything() == before and sorted((copy.root / "mlruns/artifacts").rglob("*")) == files
    done = copy.rootstock("promote", "--why", "it is the first")
    assert done.code == 0 and done.out.endswith("version 1 is champion\n"), done
    with Inside(copy.root):
        assert (
            versions.resolve(Store.open(), f"{CLASSIFIER}@{CHAMPION}").tags[
                "rootstock.promoted_why"
            ]
            == "it is the first"
        )
