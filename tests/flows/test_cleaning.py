"""``make clean`` deletes what runs made and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.project.cleaning import clean
from tests.support.images import ROOT


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


MADE = (
    "data/pool/manifest.parquet",
    "data/pool/pixels/00000.bin",
    "data/curated/manifest.parquet",
    "data/.pool.host-1-x/half",
    "models/pretrained/config.json",
    "metrics/ingest.json",
    "reports/ingest/classes.csv",
    "reports/data_docs/index.html",
    ".rootstock/cache/x",
    ".prefect/x",
    "dvc.lock",
    ".dvc/cache/files/md5/aa/bb",
    ".dvc/tmp/x",
    "mlruns/mlflow.db",
    "mlruns/1/artifacts/x",
    "mlruns/.gitkeep",
)
OWN = (
    "data/raw/cat/1.png",
    "data/notes.txt",
    "models/mine.pt",
    "reports/thesis.tex",
    "mlruns/backup/x",
    "metrics/old/a.json",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    write(tmp_path, *MADE, *OWN)
    (tmp_path / "dvc.lock").write_text("stages: {}")
    return tmp_path


def test_files_of_ones_own_stay_and_are_listed(project: Path) -> None:
    kept = clean(project)
    left = {str(file.relative_to(project)) for file in project.rglob("*") if file.is_file()}
    assert left == {*OWN, "dvc.yaml", "mlruns/.gitkeep"}
    assert kept == [
        "data/notes.txt",
        "data/raw (1 file)",
        "metrics/old (1 file)",
        "models/mine.pt",
        "reports/thesis.tex",
        "mlruns/backup (1 file)",
    ]
    assert clean(project) == kept


def test_a_file_put_into_an_output_stays_where_the_cache_lists_the_output(project: Path) -> None:
    digest = "ab" * 16 + ".dir"
    write(project, "data/pool/mine.png")
    listing = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    listing.parent.mkdir(parents=True)
    listing.write_text(
        '[{"md5": "0", "relpath": "manifest.parquet"}, {"md5": "1", "relpath": "pixels/00000.bin"}]'
    )
    (project / "dvc.lock").write_text(
        f"stages: {{ingest: {{outs: [{{path: data/pool, md5: {digest}}}]}}}}"
    )
    assert "data/pool (1 file)" in clean(project)
    assert [file.name for file in (project / "data/pool").rglob("*")] == ["mine.png"]


def test_what_dvc_add_tracks_and_links_lead_to_stays_in_the_cache(project: Path) -> None:
    write(
        project,
        ".dvc/cache/files/md5/12/34",
        ".dvc/cache/files/md5/56/78",
        ".dvc/cache/files/md5/99/99",
    )
    (project / "data/raw.dvc").write_text("outs: [{md5: '1234', path: raw}]")
    (project / "data/linked.png").symlink_to(project / ".dvc/cache/files/md5/56/78")
    assert ".dvc/cache (2 objects of data that dvc add put there)" in clean(project)
    assert sorted(file.name for file in (project / ".dvc/cache").rglob("*") if file.is_file()) == [
        "34",
        "78",
    ]
    assert (project / "data/linked.png").read_text()


def test_a_data_folder_that_is_a_link_is_not_followed(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("disk")
    shutil.move(project / "data", elsewhere / "data")
    (project / "data").symlink_to(elsewhere / "data")
    clean(project)
    assert (elsewhere / "data/raw/cat/1.png").is_file()
    assert not (elsewhere / "data/pool/manifest.parquet").exists()


def test_the_module_says_what_it_kept(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.project.cleaning"],
        cwd=project,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("kept, as no run made it:\n  data/notes.txt\n"), done.stderr
