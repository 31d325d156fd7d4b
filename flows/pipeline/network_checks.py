"""Networks before anything runs: whether a name exists, and whether what it names can be trained at
the size of the images.

The first is read from the libraries' source text, since importing them takes seconds; the second is
tried once for every combination, in a process of its own (:mod:`stages.core.models.trial`), and the
answer is kept in ``.rootstock/networks``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from stages.core import paths
from stages.core.errors import ConfigError, DataError
from stages.core.image.backbone_choice import choose_backbone
from stages.core.io import canonical_json, read_json, write_json
from stages.core.params import Params
from stages.core.starts import RANDOM, network

REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
TORCHVISION = "torchvision:"
TRIAL = "stages.core.models.trial"
INDEX = "index.json"
LIBRARIES = ("torch", "torchvision", "timm")
KNOWN = paths.STATE / "networks"


def check_network(name: str, key: str) -> None:
    """Refuse a backbone that neither timm nor (as ``torchvision:NAME``) torchvision has.

    Raises:
        ConfigError: one line with ``key``, the name and the nearest valid one.
    """
    library = "torchvision" if name.startswith(TORCHVISION) else "timm"
    plain = (
        name.removeprefix(TORCHVISION)
        if library == "torchvision"
        else name.partition("@")[0].partition(".")[0]
    )  # timm: NAME.WEIGHTS
    if _is_registered(plain, library):
        return
    from stages.core.image.bodies import check_name  # only now: the library has the last word

    try:
        check_name(name)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def _is_registered(name: str, library: str) -> bool:
    """Whether a file of the library registers a network of exactly this name; a no may be wrong, a
    yes is not.
    """
    found = find_spec(library)
    if not name or found is None or found.origin is None:
        return False
    for file in (Path(found.origin).parent / "models").glob("*.py"):
        text = file.read_text(errors="replace")
        if f"def {name}(" in text and name in REGISTERED.findall(text):
            return True
    return False


def try_networks(params: Params, made: bool) -> None:
    """Refuse networks that cannot be built or trained at the size of the images, and a student too
    large for its teacher.

    Args:
        params: whose backbones are tried. made: whether ``data/pool`` is what the sources are now;
        else only a size that params.yaml gives is known.

    Raises:
        ConfigError: one line with the key, the network and the reason.
    """
    shape = _shape(params, made)
    own = Path(*TRIAL.split(".")).with_suffix(".py")
    if (
        shape is None or find_spec(TRIAL) is None or (own.parent.is_dir() and not own.is_file())
    ):  # code from before trials
        return
    backbone, student = params.pretrain.backbone, params.distill.backbone
    start = params.pretrain.start
    if backbone == "auto" and start != RANDOM:
        backbone = network(start) or backbone
        if backbone == "auto":  # the stage learns it from the weights
            return
    if backbone == "auto":
        backbone = choose_backbone(shape[1]).name
        if student is None:  # networks of the house need no trial
            return
    asked = {
        **{
            "pretrain": backbone,
            "distill": student,
            "stem": params.pretrain.stem,
            "precision": params.pretrain.precision,
        },
        **{"channels": shape[0], "size": shape[1]},
    }
    if error := _answer(asked):
        raise ConfigError(f"{paths.PARAMS}: {error}")


def _shape(params: Params, made: bool) -> tuple[int, int] | None:
    """Channels and side of the images, as far as they are known."""
    wanted = params.ingest
    if made:
        try:
            index = read_json(paths.POOL_PIXELS / INDEX)
            return int(index["channels"]), int(index["size"])
        except (DataError, KeyError, TypeError, OSError):
            return None
    if wanted.store_size == "auto":
        return None
    return (3 if wanted.channels == "auto" else wanted.channels), wanted.store_size


def _answer(asked: Mapping[str, object]) -> str | None:
    """Why the networks cannot be used; None where they can. An answer holds for these libraries and
    this code.
    """
    code = [Path("stages/core") / name for name in ("image/backbones.py", "models/trial.py")]
    about = {
        **asked,
        **{library: _version(library) for library in LIBRARIES},
        **{
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in code
            if file.is_file()
        },
    }
    note = KNOWN / f"{hashlib.sha256(canonical_json(about).encode()).hexdigest()[:20]}.json"
    try:
        known: str | None = read_json(note)["error"]
        return known
    except (DataError, KeyError, TypeError):
        pass
    done = subprocess.run(
        [sys.executable, "-m", TRIAL, json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        why = (
            "no memory is left for it"
            if done.returncode < 0
            else " ".join(done.stderr.splitlines()[-1:])
        )
        return (
            f"{asked['pretrain']} and {asked['distill']} cannot be tried at {asked['size']} px:"
            f" {why}"
        )
    error: str | None = json.loads(lines[-1])["error"]
    write_json(note, {**about, "error": error})
    return error


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
