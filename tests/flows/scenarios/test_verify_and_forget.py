"""A flipped bit is named, an image is followed, and what is forgotten is gone after the next
run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from flows.adapters.dvc import cache
from flows.adapters.dvc.hashes import hash_of
from flows.adapters.mlflow.store import Store
from flows.lineage import forget, verification
from flows.lineage import trace as lineage
from flows.registry import versions
from flows.registry.versions import CHAMPION, CLASSIFIER, ENCODER
from stages.core import paths
from tests.support.in_folder import Inside
from tests.support.toy_project import holding

TINY = [
    part
    for key in (
        "pretrain.epochs=1",
        "distill.epochs=1",
        "finetune.steps=2",
        "evaluate.draws=2",
        "evaluate.finetune_draws=1",
        "promote.gates.champion=false",
    )
    for part in ("--set", key)
]
"""Every stage once more, as short as it goes."""
STAGES = ("ingest", "validate", "curate", "augment", "pretrain", "distill", "finetune", "evaluate")


def outputs(root: Path) -> dict[str, list[str]]:
    """Stage → paths it puts out."""
    lock = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    return {stage: [out["path"] for out in entry["outs"]] for stage, entry in lock.items()}


def flip(file: Path) -> bytes:
    """Flip the last bit of a file, which may be a read-only link into DVC's cache; returns what it
    held.
    """
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return content


def test_a_flipped_bit_in_any_output_of_any_stage_is_named(
    registered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        verification,
        "_evaluation",
        lambda version, same_pool: verification.Check("evaluation", "ok"),
    )  # its own test below
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), f"{CLASSIFIER}@{CHAMPION}"))
        assert {check.state for check in verification.verify(chain)} == {"ok"}
        made = outputs(registered.root)
        assert set(made) == set(STAGES)
        for stage, path in ((stage, path) for stage, paths in made.items() for path in paths):
            place = registered.root / path
            file = (
                next(file for file in sorted(place.rglob("*")) if file.is_file())
                if place.is_dir()
                else place
            )
            before = flip(file)
            wrong = [check.what for check in verification.verify(chain) if check.state == "differs"]
            assert wrong == [f"{stage}: {path}"]
            file.write_bytes(before)
        assert {check.state for check in verification.verify(chain)} == {"ok"}


def test_a_flipped_bit_in_the_cache_is_named_with_its_file(registered: Any) -> None:
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), f"{CLASSIFIER}@{CHAMPION}"))
        digest = next(step for step in chain.steps.values() if step.stage == "pretrain").outputs[
            "models/pretrained"
        ]
        listing = json.loads(cache.cached(digest).read_bytes())
        weights = next(item["md5"] for item in listing if item["relpath"] == "weights.safetensors")
        file = cache.cached(weights, registered.root / ".dvc/cache")
        before = flip(file)
        wrong = [check for check in verification.verify(chain) if check.state == "differs"]
        assert [check.what for check in wrong] == ["pretrain: models/pretrained (cache)"]
        assert wrong[0].found.startswith("weights.safetensors")
        file.unlink()
        file.write_bytes(before)


def test_the_command_fails_on_the_first_difference(registered: Any) -> None:
    sound = registered.rootstock("lineage", f"{CLASSIFIER}@{CHAMPION}", "--verify")
    assert sound.code == 0 and "ok           evaluation  largest difference" in sound.out, sound
    report = registered.root / "reports/evaluate/predictions.parquet"
    before = flip(report)
    broken = registered.rootstock("lineage", f"{CLASSIFIER}@{CHAMPION}", "--verify")
    assert (
        broken.code == 1
        and "evaluate: reports/evaluate differs: reports/evaluate hashes to" in broken.err
    )
    report.write_bytes(before)


def test_the_sources_are_looked_at_and_that_they_grew_is_no_failure(registered: Any) -> None:
    with Inside(registered.root):
        fingerprint = paths.FINGERPRINT.read_bytes()
        recorded = hash_of(paths.FINGERPRINT)
        paths.FINGERPRINT.write_text(
            "{}"
        )  # whatever was written down, the sources themselves are asked
        assert verification._sources(recorded).state == "ok"
        paths.FINGERPRINT.write_bytes(fingerprint)
        grown = verification._sources("0" * 32)
        assert grown.state == "unreachable" and "the sources hold other images now" in grown.found


def test_images_ingested_at_another_size_since_do_not_speak_against_the_weights(
    registered: Any,
) -> None:
    with holding(registered, "--to", "ingest", "--set", "ingest.store_size=8"):
        found = registered.rootstock("lineage", f"{CLASSIFIER}@{CHAMPION}", "--verify")
        assert found.code == 0, found
        assert (
            "unreachable  evaluation  the workspace holds these images at 8 x 8 pixels" in found.out
        )
    assert (
        "ok           evaluation"
        in registered.rootstock("lineage", f"{CLASSIFIER}@{CHAMPION}", "--verify").out
    )


def test_weights_that_answer_otherwise_are_found_by_asking(registered: Any, tmp_path: Path) -> None:
    """Everything rehashed, registry and lock agreeing on a tampered model: what the evaluation
    wrote down still tells.
    """
    from safetensors.torch import load_file, save_file

    with Inside(registered.root):
        version = versions.resolve(Store.open(), f"{CLASSIFIER}@{CHAMPION}")
        file = version.artifact / "weights.safetensors"
        before = file.read_bytes()
        weights = load_file(file)
        weights["head.bias"][0] += 1.0
        save_file(weights, file)
        version.tag({versions.DIGEST: hash_of(version.artifact)})
        checks = {check.what: check.state for check in verification.verify(lineage.trace(version))}
        assert checks["evaluation"] == "differs"
        file.write_bytes(before)
        version.tag({versions.DIGEST: hash_of(version.artifact)})


def row(registered: Any, mask: str) -> Any:
    manifest = pd.read_parquet(registered.root / "data/curated/manifest.parquet").drop_duplicates(
        "id", keep=False
    )
    return manifest.query(mask).iloc[0]


def test_audit_tells_where_an_image_went(registered: Any, tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    trained, held = (
        row(registered, "keep and split == 'train'"),
        row(registered, "keep and split == 'test'"),
    )
    done = registered.rootstock("audit", trained["id"], "--json")
    trail = json.loads(done.out)
    assert done.code == 0 and [one["uri"] for one in trail["sightings"]] == [trained["uri"]]
    stages = {
        run: stage for stage, run in (made.split() for made in trail["sightings"][0]["trained"])
    }
    assert {
        stages[run]: names for run, names in trail["sightings"][0]["registered_from"].items()
    } == {
        "finetune": ["rootstock-classifier@1"],
        "pretrain": ["rootstock-encoder@1"],
        "distill": ["rootstock-encoder@2"],
    }
    models = {one["model"]: one["state"] for one in trail["standings"]}
    with Inside(registered.root):
        store = Store.open()
        pointed_at = {
            f"{name}@{version.number}"
            for name in (CLASSIFIER, ENCODER)
            for version in versions.every(store, name)
            if version.aliases
        }
    assert models == dict.fromkeys(pointed_at, "trained")
    assert "rootstock-classifier@1" in models and len(models) > 1
    tested = json.loads(registered.rootstock("audit", held["id"], "--json").out)
    assert tested["sightings"][0]["split"] == "test" and tested["sightings"][0]["trained"] == []
    assert {one["state"] for one in tested["standings"]} == {"not trained"}
    number = int("".join(sign for sign in trained["uri"] if sign.isdigit()))
    Image.fromarray((load_digits().images[number] * 255 / 16).round().astype("uint8")).save(
        tmp_path / "renamed.png"
    )
    by_file = registered.rootstock("audit", str(tmp_path / "renamed.png")).out
    assert (
        trained["uri"] in by_file
        and "rootstock-classifier@1 (champion) was trained on it" in by_file
    )
    by_uri = registered.rootstock("audit", trained["uri"]).out
    assert by_uri.startswith(trained["id"]) and "data version WORKDIR (manifest " in by_uri, (
        "named as reports name it"
    )
    nowhere = registered.rootstock("audit", str(tmp_path / "b\udcffad.png"))
    assert nowhere.code == 2 and nowhere.err.count("\n") == 1, (
        "a name that is no text is no traceback"
    )
    unknown = registered.rootstock("audit", "0" * 64).out
    assert (
        "is in no data version" in unknown
        and "rootstock-classifier@1 (champion) was not trained on it" in unknown
    )


@pytest.mark.slow
def test_what_is_forgotten_is_gone_after_the_next_run(registered: Any) -> None:
    image = row(registered, "keep and split == 'train'")
    done = registered.rootstock("forget", image["id"])
    assert done.code == 0, done
    assert (
        f"{image['id']}  {image['uri']}" in done.out
        and "stale stages: curate; below them: augment, " in done.out
    )
    assert (
        "trained on them: rootstock-classifier@1, rootstock-encoder@1, rootstock-encoder@2"
        in done.out
    )
    params = yaml.safe_load((registered.root / "params.yaml").read_text())
    assert params["curate"]["forgotten"] == [image["id"]]
    again = registered.rootstock("forget", image["id"]).out
    assert "(forgotten before)" in again
    with Inside(registered.root):
        store = Store.open()
        assert (
            versions.resolve(store, f"{CLASSIFIER}@{CHAMPION}").tags[forget.FORGOTTEN]
            == image["id"]
        )

    ran = registered.rootstock("run", *TINY)
    assert ran.code == 0, ran
    curated = pd.read_parquet(registered.root / "data/curated/manifest.parquet").set_index("id")
    assert (
        not curated.loc[image["id"], "keep"] and curated.loc[image["id"], "reason"] == "forgotten"
    )
    trail = json.loads(registered.rootstock("audit", image["id"], "--json").out)
    new, old = sorted(trail["sightings"], key=lambda one: one["kept"])
    assert (
        trail["forgotten"]
        and not new["kept"]
        and new["reason"] == "forgotten"
        and new["trained"] == []
    )
    assert old["kept"] and old["registered"], "what was trained on it before is still named"
    states = {one["model"]: (one["state"], one["aliases"]) for one in trail["standings"]}
    assert states[f"{CLASSIFIER}@2"] == ("not trained", [CHAMPION])
    assert states[f"{CLASSIFIER}@1"] == ("trained", ["previous"])
    holders = [state for model, (state, _) in states.items() if model.startswith(ENCODER)]
    assert holders and set(holders) == {"not trained"}, (
        "a worse encoder replaces one that was trained on it"
    )
    with Inside(registered.root):
        chain = lineage.trace(versions.resolve(Store.open(), f"{CLASSIFIER}@{CHAMPION}"))
        assert chain.complete and set(STAGES) - {"evaluate"} == {
            step.stage for step in chain.steps.values()
        }
        manifest = str(paths.CURATED_MANIFEST)
        read = {
            step.stage: step.inputs[manifest]
            for step in chain.steps.values()
            if manifest in step.inputs
        }
        assert {"pretrain", "distill", "finetune"} <= set(read) and set(read.values()) == {
            new["manifest"]
        }
        assert {check.state for check in verification.verify(chain)} == {"ok"}
    back = registered.rootstock("rollback", "--why", "the old one was better")
    assert f"it was trained on images that have since been forgotten: {image['id']}" in back.err


def test_an_id_that_is_none_changes_nothing(registered: Any) -> None:
    before = (registered.root / "params.yaml").read_text()
    done = registered.rootstock("forget", "0" * 63)
    assert done.code == 2 and "neither a file nor a sha256" in done.err
    assert (registered.root / "params.yaml").read_text() == before


@pytest.fixture(scope="module", autouse=True)
def _server(server: str, registered: Any) -> None:
    """``run`` needs a Prefect server; what the commands of this module leave in .prefect is the
    copy's own.
    """
    shutil.rmtree(registered.root / ".prefect", ignore_errors=True)
