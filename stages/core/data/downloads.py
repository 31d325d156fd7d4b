"""``torchvision:NAME``: data sets that torchvision knows and the user has downloaded. Checked
without importing torchvision.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stages.core.errors import ConfigError, nearest

ROOT = "~/.cache/torchvision"
NO_IMAGES = frozenset(
    {
        "VisionDataset",
        "DatasetFolder",
        "ImageFolder",
        "FakeData",
        "Kinetics",
        "HMDB51",
        "UCF101",
        "MovingMNIST",
    }
)


@dataclass(frozen=True)
class Download:
    """The name of a torchvision data set and the folder it was downloaded to."""

    name: str
    root: Path

    @property
    def command(self) -> str:
        """What downloads it."""
        return (
            f"python -c \"import torchvision; torchvision.datasets.{self.name}('{self.root}',"
            ' download=True)"'
        )


def parse_download(argument: str) -> Download:
    """``MNIST`` or ``MNIST,root=/data/torchvision``.

    Raises:
        ConfigError: no such data set, another option, or a folder that does not exist.
    """
    name, *options = (part.strip() for part in argument.split(","))
    root = ROOT
    for option in options:
        key, _, value = option.partition("=")
        if key != "root" or not value:
            raise ConfigError(
                f"ingest.source: torchvision:{argument}: the only option is root=FOLDER, {option!r}"
                " was given"
            )
        root = value
    known = _names()
    if name not in known:
        raise ConfigError(
            f"ingest.source: torchvision has no {name!r}; {nearest(name, known)}see"
            " torchvision.datasets"
        )
    return Download(name, Path(root).expanduser())


def check_download(argument: str) -> None:
    """Refuse a data set that cannot have been downloaded, as its folder does not exist."""
    found = parse_download(argument)
    if not found.root.is_dir():
        raise ConfigError(
            f"ingest.source: {found.root} does not exist; download {found.name} first:"
            f" {found.command}"
        )


def _names() -> list[str]:
    package = find_spec("torchvision")
    if package is None or package.origin is None:
        raise ConfigError("ingest.source: torchvision is not installed")
    tree = ast.parse((Path(package.origin).parent / "datasets" / "__init__.py").read_text())
    exported = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return sorted(set(ast.literal_eval(exported)) - NO_IMAGES)
