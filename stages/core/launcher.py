"""Variables of a process launcher: those that ``torchrun`` sets count, those that a cluster left
behind do not.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

NAMES = frozenset(
    (
        *(
            "RANK",
            "WORLD_SIZE",
            "LOCAL_RANK",
            "LOCAL_WORLD_SIZE",
            "GROUP_RANK",
            "GROUP_WORLD_SIZE",
            "NODE_RANK",
        ),
        *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    )
)
PREFIXES = ("TORCHELASTIC_", "PET_")
STARTED_BY_TORCHRUN = "TORCHELASTIC_RUN_ID"


def started_by_torchrun() -> bool:
    """Return whether this process is a worker of ``torchrun``; ``WORLD_SIZE`` alone says
    nothing.
    """
    return STARTED_BY_TORCHRUN in os.environ and "WORLD_SIZE" in os.environ


def forget_launcher(environment: MutableMapping[str, str]) -> None:
    """Remove what tells a process that it is one of several: left behind by a cluster, it would
    wait for peers for ever.
    """
    for name in [name for name in environment if name in NAMES or name.startswith(PREFIXES)]:
        del environment[name]
