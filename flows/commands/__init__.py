"""Commands of ``rootstock``, one file each: the file's name is the command's, ``command`` in it is what runs.

Nothing heavy is imported before a command is called, so that ``--help`` stays quick.
"""

from __future__ import annotations

from pathlib import Path


def enter() -> Path:
    """Make the project the working directory, with its tools' settings; returns its root. Parameters are checked."""
    from flows import environment
    from flows.checks import check_choices
    from stages.core.params import load_params

    root = environment.enter(environment.find_root())
    check_choices(load_params())
    return root
