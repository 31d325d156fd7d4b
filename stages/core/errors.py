"""Errors written for the person who caused them: what, where, what to do. The command line prints
one line.
"""

from __future__ import annotations

import difflib


class RootstockError(Exception):
    """Base of every expected error; ``exit_code`` is what the process ends with."""

    exit_code = 2


class ConfigError(RootstockError):
    """The call or the configuration is wrong: an unknown key, a missing folder, an unwritable
    store.
    """


class DataError(RootstockError):
    """An input cannot be used as it is: wrong shape, missing shard, a manifest and pixels that
    disagree.
    """


class Refused(RootstockError):
    """A gate or a validation said no. Nothing is broken; the answer is no."""

    exit_code = 1


class StageFailed(RootstockError):
    """A stage ended in a way nobody asked for."""

    exit_code = 3


def nearest(given: str, allowed: list[str]) -> str:
    """Return ``'did you mean …? '``, or nothing where no allowed name is near."""
    close = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""
