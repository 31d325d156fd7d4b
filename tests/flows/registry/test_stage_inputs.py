"""A stage depends on the plugins it uses: another one may come or change, and nothing is stale."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.support.checkout import ROOT
from flows.adapters.dvc import plan, staleness
from flows.adapters.dvc.lockfile import read_entry
from flows.registry import stage_inputs
from stages.core import paths
from stages.core.params import load_params

METHODS = Path("stages/pretrain/methods")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose only stage depends on the objective and the control, after one run."""
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pyc*"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", tmp_path / ".dvc")
    real = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["pretrain"]["deps"]
    code = [dep for dep in real if dep.startswith(("stages/", str(paths.PLUGINS)))]
    stage = {
        "cmd": "mkdir -p models && echo done > models/weights",
        "deps": code,
        "params": ["pretrain"],
        "outs": ["models/weights"],
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"pretrain": stage}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    subprocess.run(["git", "init", "-q"], check=True)
    refreshed()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
    staleness.remember(read_entry("pretrain"))
    return tmp_path


def refreshed() -> None:
    """What every plan does first."""
    stage_inputs.refresh(load_params(), images=False)


def reasons() -> list[str]:
    """Why the stage is stale now."""
    refreshed()
    return plan.read_reasons("pretrain")


def test_only_the_objective_in_use_makes_the_stage_stale_and_the_plan_says_why(
    trained: Path,
) -> None:
    params = load_params().pretrain
    assert reasons() == []
    (METHODS / "newcomer.py").write_text((METHODS / "byol.py").read_text())
    other = next(
        file
        for file in sorted(METHODS.glob("[a-z]*.py"))
        if file.stem not in {params.method, params.control}
    )
    other.write_text(other.read_text() + "\nMORE = 1\n")
    assert reasons() == []
    used = METHODS / f"{params.method}.py"
    used.write_text(used.read_text() + "\nMORE = 1\n")
    assert reasons() == [f"code: {used}"]


def test_the_file_names_what_only_a_plugin_reaches(trained: Path) -> None:
    (trained / "stages/core/extra.py").write_text("VALUE = 1\n")
    used = METHODS / f"{load_params().pretrain.method}.py"
    used.write_text("from stages.core import extra\n" + used.read_text())
    refreshed()
    found = json.loads(paths.plugins("pretrain").read_text())["pretrain.method"]
    assert {"stages/core/extra.py", str(used)} <= set(found[used.stem])
    assert not any("params.py" in file for files in found.values() for file in files)


def test_the_file_is_not_touched_where_nothing_changed(trained: Path) -> None:
    before = paths.plugins("pretrain").stat().st_mtime_ns
    refreshed()
    assert paths.plugins("pretrain").stat().st_mtime_ns == before
