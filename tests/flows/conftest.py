"""Small real projects: git, DVC, stages that are little scripts, one Prefect server for the whole
session.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.registry import answers, chain, classifier, encoder, version
from flows.adapters.dvc.hashes import hash_of
from flows.adapters.mlflow.store import Store
from flows.registry import versions
from flows.registry.registration import register
from stages.core import paths
from stages.core.data.manifest import Manifest
from tests.support.images import class_folders, params_with, run_stage
from tests.support.in_folder import Inside
from tests.support.services import serving
from tests.support.toy_project import ROOT, Project
from tests.support.toy_stages import Tiny


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The settings a project makes for its tools, with a home of the tests' own."""
    from flows.project.environment import QUIET

    os.environ.update(QUIET)
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="session")
def server(_environment: None) -> Iterator[str]:
    """One Prefect server for every test that needs one."""
    from flows.adapters.prefect.server import prefect_server

    with prefect_server() as running:
        running.wait()
        yield running.address


@pytest.fixture(scope="session")
def _blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project without stages, to copy; with an empty MLflow store, whose making takes
    seconds.
    """
    root = tmp_path_factory.mktemp("blank")
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(ROOT / ".gitignore", root)
    shutil.copy(ROOT / ".dvcignore", root)
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
    (root / "dvc.yaml").write_text("stages: {}\n")
    project = Project(root)
    project.git("init", "-q")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "start")
    imports = (
        "from pathlib import Path; from flows.project.environment import enter; from"
        " flows.adapters.mlflow.store import Store"
    )
    code = f"{imports}; enter(Path.cwd()); Store.open()"
    subprocess.run([sys.executable, "-c", code], cwd=root, env=project.environment(), check=True)
    return root


@pytest.fixture
def bare_project(tmp_path: Path, _blank: Path) -> Project:
    """A committed project without stages."""
    root = tmp_path / "project"
    shutil.copytree(_blank, root)
    return Project(root)


@pytest.fixture(scope="session")
def asked(_blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a pool of digits, of which curate dropped the first, and a registered encoder
    and classifier; tests write nothing into it.
    """
    root = tmp_path_factory.mktemp("asked") / "project"
    shutil.copytree(_blank, root)
    images = class_folders(root.parent / "in")
    with Inside(root):
        source = {"source": f"folder:{images}", "store_size": 16, "channels": 1}
        run_stage("ingest", params_with(ingest=source))
        frame = Manifest.read(paths.POOL_MANIFEST).frame
        curated = frame.assign(keep=frame.index > 0, cluster=-1, weight=1.0)
        Manifest(curated).write(paths.CURATED_MANIFEST)
        store = Store.open()
        models = {
            (versions.ENCODER, versions.FROZEN_BEST): encoder(Path("models/encoder")),
            (versions.CLASSIFIER, versions.CHAMPION): classifier(Path("models/classifier")),
        }
        for (name, alias), folder in models.items():
            made_by = chain(store, name, {"models/finetuned": hash_of(folder)})
            run = made_by["models/finetuned"]
            made = register(store, name, folder, hash_of(folder), run, {})
            store.client.set_registered_model_alias(name, alias, made.number)
    return Project(root)


@pytest.fixture
def project(bare_project: Project, server: str) -> Project:
    """Four stages: a feeds b and c, both feed d."""
    return _four_stages(bare_project)


@pytest.fixture(scope="session")
def _ran(_blank: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four stages after one run."""
    root = tmp_path_factory.mktemp("ran") / "project"
    shutil.copytree(_blank, root)
    done = _four_stages(Project(root)).rootstock("run")
    assert done.code == 0, done
    return root


@pytest.fixture
def ran(_ran: Path, tmp_path: Path) -> Project:
    """A copy of a checkout in which the four stages ran."""
    root = tmp_path / "ran"
    shutil.copytree(_ran, root, symlinks=True)
    return Project(root)


def _four_stages(project: Project) -> Project:
    project.add("a", [], "data/a.txt", "a")
    project.add("b", ["data/a.txt"], "data/b.txt", "b")
    project.add("c", ["data/a.txt"], "data/c.txt", "c", params=["seed", "pretrain"])
    project.add("d", ["data/b.txt", "data/c.txt"], "data/d.txt", "d")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "four stages")
    return project


@pytest.fixture(scope="module")
def registered(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished run of the main job, whose commands run in this process; a module may
    do with it what it likes.
    """
    root = tmp_path_factory.mktemp("registered") / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project(root)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, _blank: Path) -> Iterator[Tiny]:
    """A project whose servers and worker run; a module has one to itself."""
    with serving(tmp_path_factory.mktemp("up") / "project", _blank / "mlruns") as project:
        yield project


@pytest.fixture(scope="session")
def _three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of three versions: good, as good, and worse."""
    root = tmp_path_factory.mktemp("registry")
    model = classifier(root / "model")
    with Inside(root):
        store = Store.open()
        for mark, share in {"good": 0.9, "equal": 0.9, "worse": 0.8}.items():
            version(store, model, mark, answers(share, seed=0))
    return root


@pytest.fixture
def looked_at(_three_versions: Path) -> Iterator[Store]:
    """The store of three versions, for tests that write nothing."""
    with Inside(_three_versions):
        yield Store.open()


@pytest.fixture
def store(_three_versions: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of the store of three versions: its addresses follow."""
    shutil.copytree(_three_versions, tmp_path / "copy")
    with Inside(tmp_path / "copy"):
        yield Store.open()
