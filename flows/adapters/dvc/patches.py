"""DVC opens ``dvc.lock`` for writing and fills it: who is killed in between leaves an empty one,
which DVC refuses ever after.

Wherever this project has DVC in a process, the file is written beside and takes its name in one
step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.core.io import atomic_file

LOCK = Path("dvc.lock")


def write_whole() -> None:
    """Let DVC, in this process, write its files in one step; a DVC that names the function
    otherwise writes as ever.
    """
    from dvc.utils.serialize import _common, _yaml

    for module in (_common, _yaml):
        if hasattr(module, "_dump_data"):
            module._dump_data = _dump


def drop_emptied(path: Path = LOCK) -> None:
    """Remove a lock file that a killed DVC left empty; what it said is in DVC's run cache, which
    brings the outputs back.
    """
    if path.is_file() and not path.stat().st_size:
        path.unlink()


def _dump(
    path: Any, data: Any, dumper: Callable[..., Any], fs: Any = None, **arguments: Any
) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        dumper(data, stream, **arguments)
