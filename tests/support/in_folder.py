"""Work in a project's folder, with the store that lies there; ask whether a server answers."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import Any


class Inside:
    """``with Inside(folder): …``"""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = Path.cwd(), os.environ.pop("MLFLOW_TRACKING_URI", None)
        os.chdir(self.folder)

    def __exit__(self, *_: Any) -> None:
        os.chdir(self.before[0])
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if self.before[1]:
            os.environ["MLFLOW_TRACKING_URI"] = self.before[1]


def answers(address: str) -> bool:
    """Whether a server answers with 200."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
