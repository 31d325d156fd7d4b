"""Atomic, deterministic files: a killed writer leaves the old file or none, the same content gives
the same bytes.
"""

from __future__ import annotations

import csv
import glob
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.core.errors import DataError


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling to write to; on success it is synced and takes the name ``path`` in
    one step.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling directory; on success it replaces ``path``, whatever stood there
    before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _unfinished(path)
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        _sync_directory(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unfinished(path: Path) -> Path:
    """A new directory to write in; those that killed writers of this machine left there, which may
    be large, are removed.
    """
    start = f".{path.name}.{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(start)}*"):
        writer = left.name.removeprefix(start).split("-")[0]
        if writer.isdecimal() and not _alive(int(writer)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{start}{os.getpid()}-", dir=path.parent))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    """Write ``content`` atomically as UTF-8."""
    write_bytes(path, content.encode())


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces; what hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write_json(path: Path | str, value: Any) -> None:
    """Write readable JSON with sorted keys; a number that is none (NaN, infinity) becomes null, as
    no other tool reads it.
    """
    write_text(path, _json(value))


def refresh_json(path: Path, value: Any) -> None:
    """Write JSON, touching the file only when its content changes; several processes may do so at
    once.
    """
    text = _json(value)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _json(value: Any) -> str:
    return (
        json.dumps(finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        + "\n"
    )


def finite(value: Any) -> Any:
    """Return a value of JSON with None for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path | str) -> Any:
    """Read JSON; a missing or broken file is a :class:`DataError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: run the stage that writes it (rootstock plan shows which)"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON (line {error.lineno}): {error.msg}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not valid JSON: it is not UTF-8 text") from None


def write_csv(path: Path | str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows atomically with ``\\n`` line ends."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """Rows of a CSV file by column name; a missing file is a :class:`DataError` that names it."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: run the stage that writes it (rootstock plan shows which)"
        ) from None


def write_metrics(path: Path | str, values: Mapping[str, Any]) -> None:
    """Write a DVC metrics file: floats at six significant digits, so that a diff shows what changed
    and no noise.

    A number that is none is written as null, and named once on the console: no figure ends a run.
    """
    write_json(path, _rounded(values, Path(path).stem))


def _rounded(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item, name) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            print(f"WARNING: the metric {name} is {value}, no number: written as null", flush=True)
            return None
        return float(f"{value:.6g}")
    return value
