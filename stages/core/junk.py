"""Files that systems leave in folders: one list for every reader of folders and archives."""

from __future__ import annotations

import re

JUNK = "(system)"
HIDDEN = "(hidden)"
LEFT_BY_CHOICE = "(ingest.ignore)"
APART = frozenset({JUNK, HIDDEN, LEFT_BY_CHOICE})
"""Kinds of files that are counted but are no part of the data: they come and go by themselves."""

_NAMES = frozenset(
    {
        *("__macosx", ".ds_store", ".appledouble", ".lsoverride", ".fseventsd", ".trashes"),
        *(".spotlight-v100", ".temporaryitems", ".documentrevisions-v100", ".apdisk", "icon\r"),
        *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
        *("$recycle.bin", "recycler", "system volume information", "picasa.ini", ".picasa.ini"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", ".@__thumb"),
        *(".thumbnails", ".xvpics", "lost+found", ".directory", ".ipynb_checkpoints"),
    }
)
_PATTERN = re.compile(
    r"\._.*|\.nfs[0-9a-f]{8,}|\.fuse_hidden.*|\.trash-\d+|.*:zone\.identifier", re.S
)


def is_junk(name: str) -> bool:
    """Return whether a file or folder of this name is one that a system left."""
    low = name.lower()
    return low in _NAMES or bool(_PATTERN.fullmatch(low))


def is_junk_path(path: str) -> bool:
    """Return whether any part of a ``/``-separated path is junk."""
    return any(map(is_junk, path.split("/")))
