"""What every test shares."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.support.checkout import QUICKLY, Project, checkout

# One thread per process: what is promised holds for any number, and two that wait for each other
# crawl on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hundreds of processes start here: where compiled modules may not be kept, each would compile
# everything anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

LONGEST_FIRST = (
    "test_main_job.py",
    "test_experiment.py",
    "test_killed_run.py",
    "test_team.py",
    "test_work_pools.py",
    "test_deployed.py",
    "test_guide.py",
    "test_three_sources.py",
)
"""Two workers take file after file: what takes minutes must not come last. The first makes the run
the third compares with.
"""


@pytest.fixture(autouse=True, scope="module")
def _same_search_path() -> Iterator[None]:
    """A model that is loaded puts its own copy of the code first; what a later file imports or
    starts must not find it there.
    """
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(autouse=True, scope="module")
def _same_store() -> Iterator[None]:
    """Whoever opens a store names it in the environment, for MLflow's own code; a later file must
    not find it there.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, the rest as it was."""
    rank = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One undisturbed run of the main job, made once for all workers, for tests that only look at
    it (or copy it).
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, printed = shared / "finished", shared / "finished.out"
    with FileLock(shared / "finished.lock"):
        if not printed.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            printed.write_text(checkout(folder).rootstock("run", *QUICKLY))
    return Project(folder, printed.read_text())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh checkout."""
    return checkout(tmp_path)
