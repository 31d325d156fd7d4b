"""``rootstock doctor``: what this machine can do, and what is missing."""

from __future__ import annotations

import sys


def command() -> None:
    """Say what this machine can do, and what is missing."""
    from flows.project.doctor import examine, show

    sys.exit(show(examine()))
