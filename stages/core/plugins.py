"""Things a parameter names (objectives, operators, policies, gates): one file each, found by its
file name.

``names`` reads the folder and imports nothing, so a configuration is checked without loading torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from stages.core.errors import ConfigError, nearest

ROOT = Path(__file__).resolve().parents[2]


def names(package: str) -> list[str]:
    """Names of the public modules of a package such as ``stages.pretrain.methods``."""
    folder = ROOT.joinpath(*package.split("."))
    return sorted(
        module.name
        for module in pkgutil.iter_modules([str(folder)])
        if not module.name.startswith("_")
    )


def load(package: str, name: str) -> ModuleType:
    """Import the module that holds ``name``; an unknown one is refused with the nearest."""
    check(package, name, key=package.rsplit(".", 1)[-1])
    return importlib.import_module(f"{package}.{name}")


def check(package: str, name: str, key: str) -> None:
    """Refuse a name that no file of the package bears."""
    known = names(package)
    if name not in known:
        raise ConfigError(
            f"{key}: {name!r} does not exist; {nearest(name, known)}choose from {', '.join(known)}"
        )
