"""``rootstock doctor``: what this machine can do, what is missing, and how to fix it."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OK, WARN, FAIL = "ok", "warn", "fail"
SETUP = "make setup installs the locked pair again"
LOWEST_SPACE = 5 * 2**30
RANGES = {"fastapi": ((0, 139), (0, 151)), "sqlalchemy": ((2, 0), (2, 1))}
WHY = {
    "fastapi": (
        "from 0.151 on Prefect's server refuses `prefect deploy`, from 0.155 on it does not start"
    ),
    "sqlalchemy": "2.1 silently stops Prefect's scheduler",
}
PROBE = """
import json, torch
facts = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": torch.cuda.device_count()}
import torchvision
from torchvision.ops import nms
nms(torch.rand(1, 4), torch.rand(1), 0.5)
facts |= {"torchvision": torchvision.__version__}
flags = open("/proc/cpuinfo").read() if __import__("os").path.exists("/proc/cpuinfo") else ""
facts["bf16"] = any(word in flags for word in ("avx512_bf16", "amx_bf16")) or facts["gpus"] > 0 and torch.cuda.is_bf16_supported()
print(json.dumps(facts))
"""  # noqa: E501


@dataclass(frozen=True)
class Finding:
    """Result of one check: its state, what was found, and how to fix it."""

    subject: str
    state: str
    found: str
    fix: str = ""


def examine(root: Path | None = None) -> list[Finding]:
    """Look at everything; nothing is changed."""
    root = root or Path.cwd()
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _torch,
        _ranges,
        _programs,
        _user,
        lambda: _project(root),
        servers,
        lambda: _space(root),
    ]
    return [finding for check in checks for finding in check()]


def show(findings: list[Finding]) -> int:
    """Print them; 2 where something fails, else 0."""
    for finding in findings:
        print(f"{finding.state:<5} {finding.subject:<14} {finding.found}")
        if finding.fix:
            print(f"{'':<21}→ {finding.fix}")
    return 2 if any(finding.state == FAIL for finding in findings) else 0


def _python() -> Iterator[Finding]:
    text = f"{sys.version.split()[0]} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("python", OK, text)
    else:
        yield Finding(
            "python",
            FAIL,
            text,
            "Python 3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.11",
        )


def _torch() -> Iterator[Finding]:
    """In a process of its own: a mismatched pair can end in a crash as well as in an error."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        yield pair_finding(done.stderr, _version("torch"), _version("torchvision"))
        return
    import json

    facts = json.loads(done.stdout)
    yield pair_finding("", facts["torch"], facts["torchvision"])
    cuda = (
        f"{facts['gpus']} GPU(s), CUDA {facts['cuda']}"
        if facts["gpus"]
        else "none: training runs on the processor"
    )
    yield Finding("gpu", OK, cuda)
    yield Finding(
        "bf16",
        OK,
        "in hardware" if facts["bf16"] else "not in hardware: precision auto means fp32 here",
    )


def pair_finding(error: str, torch: str | None, torchvision: str | None) -> Finding:
    """Whether torch and torchvision belong together, from what importing both said and from their
    build tags.
    """
    if torch is None or torchvision is None:
        missing = "torch" if torch is None else "torchvision"
        return Finding("torch", FAIL, f"{missing} is not installed", SETUP)
    pair = f"torch {torch}, torchvision {torchvision}"
    if "operator torchvision::nms does not exist" in error:
        return Finding(
            "torch",
            FAIL,
            f"{pair} were built for different torch builds (operator torchvision::nms does not"
            " exist)",
            SETUP,
        )
    if error.strip():
        return Finding("torch", FAIL, f"{pair}: {error.strip().splitlines()[-1]}", SETUP)
    builds = [version.partition("+")[2] for version in (torch, torchvision)]
    if all(builds) and builds[0] != builds[1]:
        return Finding(
            "torch", FAIL, f"{pair}: one is built for {builds[0]}, the other for {builds[1]}", SETUP
        )
    return Finding("torch", OK, pair)


def _ranges() -> Iterator[Finding]:
    for name in RANGES:
        yield range_finding(name, _version(name))


def range_finding(name: str, version: str | None) -> Finding:
    """Whether a package whose newer versions break Prefect quietly is in the range that works."""
    low, high = (".".join(map(str, bound)) for bound in RANGES[name])
    if version is None:
        return Finding(name, FAIL, "not installed", "make setup installs it")
    number = tuple(int(part) for part in version.split(".")[:2])
    if RANGES[name][0] <= number < RANGES[name][1]:
        return Finding(name, OK, version)
    return Finding(
        name,
        FAIL,
        f"{version} is outside {low} … {high}: {WHY[name]}",
        "make setup installs the locked version",
    )


def _programs() -> Iterator[Finding]:
    git = shutil.which("git")
    if git:
        done = subprocess.run([git, "--version"], capture_output=True, text=True, check=False)
        yield Finding("git", OK, done.stdout.strip().removeprefix("git version "))
    else:
        yield Finding("git", FAIL, "not installed", "install git: every run records its commit")
    for name in ("dvc", "prefect", "mlflow"):
        version = _version(name)
        yield (
            Finding(name, OK, version)
            if version
            else Finding(name, FAIL, "not installed", "make setup installs it")
        )


def _user() -> Iterator[Finding]:
    from flows.process.surroundings import has_account

    if not has_account():
        home = os.environ.get("HOME") or "none"
        found = f"uid {os.getuid()} has no entry in the password database (HOME is {home})"
        mend = (
            "everything runs; without a home that can be written .rootstock/home in the project"
            " serves as one"
        )
        yield Finding("user", WARN, found, mend)


def _project(start: Path) -> Iterator[Finding]:
    from flows.project import environment
    from flows.project.git import why_no_commit
    from stages.core.errors import ConfigError

    try:
        root = environment.find_root(start)
    except ConfigError as error:
        yield Finding(
            "project", WARN, str(error), "run this inside a project to have it looked at too"
        )
        return
    yield Finding("project", OK, str(root))
    if problem := why_no_commit(root):
        mend = "until then every run is without a trace to its code, and the gate lineage says no"
        yield Finding("git commit", FAIL, problem, mend)
    yield from _writable(root)
    yield from _locks(root)


def _writable(root: Path) -> Iterator[Finding]:
    from flows.adapters.mlflow.database import FOLDER, check_writable
    from stages.core.errors import ConfigError

    for folder in (root, root / FOLDER, root / ".dvc"):
        try:
            check_writable(folder)
        except ConfigError:
            yield Finding(
                "write access",
                FAIL,
                f"{folder} cannot be written",
                f"chmod u+w {shlex.quote(str(folder))}, or check who owns it and how it is mounted",
            )
            return
    yield Finding("write access", OK, "project, .dvc and mlruns")


def _locks(root: Path) -> Iterator[Finding]:
    """DVC's lock is released by the system when its holder dies; an entry of a dead process in its
    second lock is not.
    """
    from flows.adapters.dvc.repository import read_holders
    from flows.process import identity

    record = root / ".dvc" / "tmp" / "rwlock"
    entries = read_holders(record)
    held = [
        *entries.get("write", {}).values(),
        *(holder for holders in entries.get("read", {}).values() for holder in holders),
    ]
    holders = {int(holder["pid"]) for holder in held}
    dead = sorted(pid for pid in holders if not identity.alive(pid))
    if dead:
        yield Finding(
            "dvc locks",
            WARN,
            f"{record} names {', '.join(map(str, dead))}, which ended",
            "the next run takes it over; nothing to do",
        )
    else:
        yield Finding("dvc locks", OK, f"{len(holders)} held" if holders else "none held")


def servers() -> Iterator[Finding]:
    """The servers that the environment names, each asked whether it answers."""
    from flows.adapters.mlflow.database import check_reachable
    from flows.adapters.prefect.server import answers
    from stages.core.errors import ConfigError

    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        try:
            check_reachable(uri)
            yield Finding("mlflow store", OK, uri.rpartition("@")[2])
        except ConfigError as error:
            yield Finding(
                "mlflow store",
                FAIL,
                str(error),
                "unset MLFLOW_TRACKING_URI uses mlruns/mlflow.db again",
            )
    if address := os.environ.get("PREFECT_API_URL"):
        if answers(address.rstrip("/")):
            yield Finding("prefect server", OK, address)
        else:
            found = f"none answers at PREFECT_API_URL={address}"
            yield Finding(
                "prefect server",
                FAIL,
                found,
                "rootstock up starts one here; unset PREFECT_API_URL runs without",
            )


def _space(root: Path) -> Iterator[Finding]:
    for name, folder in {"disk": root, "temporary": Path(tempfile.gettempdir())}.items():
        free = shutil.disk_usage(folder).free
        text = f"{free / 2**30:.1f} GiB free at {folder}"
        if free >= LOWEST_SPACE:
            yield Finding(name, OK, text)
        else:
            yield Finding(name, WARN, text, "dvc gc --workspace frees the cache of old versions")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processor", OK, f"{cores} cores")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
