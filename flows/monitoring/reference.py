"""The reference of the drift audit: a profile of data that passed, named by its content, so that a
parameter names it for ever.

It does not move by itself: a reference that followed every run would never see a slow drift.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from stages.core import paths
from stages.core.errors import ConfigError, Refused
from stages.core.io import atomic_file, read_json

FOLDER = Path("references")
PROFILE = "profile.parquet"


def keep(root: Path) -> Path:
    """Copy the profile of the workspace into ``references/`` and return its path below the root.

    Raises:
        ConfigError: validate has not run here.
        Refused: the data did not pass.
    """
    profile = root / paths.reports("validate") / PROFILE
    if not profile.is_file():
        raise ConfigError(
            f"{paths.reports('validate') / PROFILE} is missing: rootstock run --to validate"
        )
    if not read_json(root / paths.metrics("validate"))["passed"]:
        raise Refused(
            "the data of the workspace did not pass validation, so nothing should be compared with"
            " them"
        )
    path = FOLDER / f"{hashlib.sha256(profile.read_bytes()).hexdigest()[:16]}.parquet"
    with atomic_file(root / path) as temporary:
        shutil.copyfile(profile, temporary)
    return path
