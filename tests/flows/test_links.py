"""Outputs that DVC keeps as links into its cache, and folders of outputs that are links
themselves.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.support.registry import classifier
from flows.adapters.mlflow.store import Store
from flows.lineage.verification import hash_of
from flows.registry import versions
from flows.registry.registration import register
from flows.registry.versions import CLASSIFIER
from stages.core.image.pixel_store import link_shard
from stages.core.models.artifact import load_classifier
from tests.support.in_folder import Inside

COPY = "import shutil; shutil.copytree('made', 'models/finetuned')"


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "reflink,symlink", "copy"])
def test_a_model_that_dvc_keeps_as_links_is_registered_with_real_files(
    bare_project: Any, kind: str
) -> None:
    root = bare_project.root
    classifier(root / "made")
    stage = {"cmd": f'python -c "{COPY}"', "deps": ["made"], "outs": ["models/finetuned"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"finetune": stage}}))
    for arguments in (["config", "cache.type", kind], ["repro", "-q"]):
        command = [sys.executable, "-m", "dvc", *arguments]
        subprocess.run(
            command, cwd=root, env=bare_project.environment(), check=True, capture_output=True
        )
    weights = root / "models/finetuned/weights.safetensors"
    if kind == "symlink":
        assert weights.is_symlink()
    digest = yaml.safe_load((root / "dvc.lock").read_text())["stages"]["finetune"]["outs"][0]["md5"]
    with Inside(root):
        store = Store.open()
        assert hash_of(Path("models/finetuned")) == digest
        register(
            store,
            CLASSIFIER,
            Path("models/finetuned"),
            digest,
            store.start("finetune", None, {}),
            {},
        )
        shutil.rmtree(root / ".dvc/cache")
        artifact = versions.get(store, CLASSIFIER, "1").artifact
        assert artifact.name == "finetuned" and not any(
            path.is_symlink() for path in artifact.rglob("*")
        )
        assert hash_of(artifact) == digest
        assert load_classifier(artifact).classes == ["cat", "dog"]


def test_a_shard_kept_for_the_next_ingest_outlives_the_cache_it_was_a_link_into(
    tmp_path: Path,
) -> None:
    (tmp_path / "cache").write_bytes(b"pixels")
    (tmp_path / "00000.bin").symlink_to(tmp_path / "cache")
    link_shard(tmp_path / "00000.bin", tmp_path / "kept.bin")
    assert (tmp_path / "kept.bin").samefile(tmp_path / "cache")
    (tmp_path / "cache").unlink()
    assert (tmp_path / "kept.bin").read_bytes() == b"pixels"


@pytest.mark.parametrize("place", ["data", "metrics"])
def test_a_folder_of_outputs_that_is_a_link_is_refused_before_anything_runs(
    bare_project: Any, tmp_path: Path, place: str
) -> None:
    bare_project.add("a", [], "data/a.txt", "a")
    (tmp_path / "big").mkdir()
    (bare_project.root / place).symlink_to(tmp_path / "big")
    refused = bare_project.rootstock("run")
    assert refused.code == 2 and refused.err.count("\n") == 1, refused
    assert (
        f"{place} is a link to {tmp_path / 'big'}" in refused.err
        and "dvc cache dir --local" in refused.err
    )
    assert not list((tmp_path / "big").iterdir()) and not (bare_project.root / "dvc.lock").exists()


def test_the_advice_for_a_bigger_disk_works(bare_project: Any, tmp_path: Path, server: str) -> None:
    bare_project.add("a", [], "data/a.txt", "a")
    for arguments in (
        ["cache", "dir", "--local", str(tmp_path / "big")],
        ["config", "--local", "cache.type", "reflink,symlink,copy"],
    ):
        command = [sys.executable, "-m", "dvc", *arguments]
        subprocess.run(
            command,
            cwd=bare_project.root,
            env=bare_project.environment(),
            check=True,
            capture_output=True,
        )
    done = bare_project.rootstock("run")
    assert done.code == 0 and bare_project.text("data/a.txt") == "a", done
    assert any((tmp_path / "big").rglob("*")) and not (bare_project.root / ".dvc/cache").exists()
    assert bare_project.states(bare_project.rootstock("run").out) == {"a": "cached"}
