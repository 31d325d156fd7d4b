"""What every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.project import Project, checkout

# One thread per process: what is promised holds for any number, and two that wait for each other crawl on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh checkout."""
    return checkout(tmp_path)
