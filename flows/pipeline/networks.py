"""Whether a network of that name exists: read from the libraries' source text, since importing them
takes seconds.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from stages.core.errors import ConfigError

REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
TORCHVISION = "torchvision:"


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
    from stages.core.image.backbones import (
        check_name,
    )  # only now: the library itself has the last word

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
