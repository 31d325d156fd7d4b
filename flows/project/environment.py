"""The project's own settings for its tools, made before any of them is imported: nobody's home is
read, nothing phones home.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flows.process import surroundings
from stages.core.errors import ConfigError

MARKS = ("dvc.yaml", "params.yaml")
RIGHTS = (
    "rootstock needs write access to the project directory, including .dvc, .prefect and"
    " .rootstock (chown, chmod, mount)"
)

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AUTO_LOGGING": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # seven idle worker processes that nothing here uses
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # the console is rootstock's; Prefect's log keeps every line
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "INFO",
    # when a run is stopped its events have no server left to go to
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE": "100000",
    "PREFECT_CLI_COLORS": "false",
    "ALEMBIC_LOGGING": "error",
}


def find_root(start: Path | None = None) -> Path:
    """The nearest directory upward that holds a project.

    Raises:
        ConfigError: no directory above holds ``dvc.yaml`` and ``params.yaml``, or it is no git
            repository.
    """
    start = (start or Path.cwd()).resolve()
    best: Path | None = None
    for folder in (start, *start.parents):
        present = [mark for mark in MARKS if (folder / mark).is_file()]
        if len(present) == len(MARKS):
            _check_git(folder)
            return folder
        if present and best is None:
            best = folder
    if best is not None:
        missing = next(mark for mark in MARKS if not (best / mark).is_file())
        raise ConfigError(
            f"{missing} is missing in {best}: a project has {' and '.join(MARKS)} in its root"
        )
    raise ConfigError(
        f"{start} is not inside a Rootstock project: no dvc.yaml and params.yaml here or above"
    )


def _check_git(root: Path) -> None:
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise ConfigError(
            f"{root} is not a git repository: lineage needs commits; run git init there and commit"
            " once"
        )
    if not (root / ".dvc").is_dir():
        raise ConfigError(f"{root} has no .dvc directory: run dvc init there")


def enter(root: Path) -> Path:
    """Make ``root`` the working directory and set what the tools read from the environment. A
    variable already set stays.
    """
    os.chdir(root)
    surroundings.settle(root)
    inside = {
        "PREFECT_HOME": ".prefect",
        "MPLCONFIGDIR": ".rootstock/matplotlib",
        "DVC_SITE_CACHE_DIR": ".rootstock/dvc",
    }
    settings = {**QUIET, **{name: str(root / place) for name, place in inside.items()}}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    binaries = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != binaries:
        os.environ["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    if (root / ".rootstock/servers/prefect.json").is_file():
        from flows.project import endpoints

        endpoints.use()
    return root
