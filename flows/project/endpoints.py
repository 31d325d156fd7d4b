"""Endpoints: the servers that ``rootstock up`` started here, and whether they answer."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass
from urllib.error import URLError

from flows.process import identity
from stages.core import paths
from stages.core.io import read_json

BACKEND = "MLFLOW_BACKEND_STORE_URI"
FOLDER = paths.STATE / "servers"
HEALTH = {"prefect": "/api/health", "mlflow": "/health"}


@dataclass(frozen=True)
class Service:
    """Process that ``up`` started; ``began`` tells it from a later one with the same id."""

    name: str
    pid: int
    began: str
    address: str

    @property
    def alive(self) -> bool:
        """Whether it is still the process that was started."""
        return identity.alive(self.pid, self.began)

    @property
    def answers(self) -> bool:
        """Whether it is ready; a worker is as soon as it lives."""
        if not self.address:
            return self.alive
        try:
            with urllib.request.urlopen(
                f"{self.address}{HEALTH[self.name]}", timeout=5
            ) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False


def service(name: str) -> Service | None:
    """What ``up`` started under this name, if it lives."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return None
    found = Service(**read_json(path))
    return found if found.alive else None


def use() -> None:
    """Let this process use the servers that ``up`` started, unless ``PREFECT_API_URL`` or
    ``MLFLOW_TRACKING_URI`` say otherwise.

    With SQLite the store is opened directly, which is faster; with another database through the
    server.
    """
    if (
        BACKEND in os.environ
        and "MLFLOW_TRACKING_URI" not in os.environ
        and (found := service("mlflow"))
    ):
        os.environ["MLFLOW_TRACKING_URI"] = found.address
    if "PREFECT_API_URL" not in os.environ and (found := service("prefect")):
        os.environ["PREFECT_API_URL"] = f"{found.address}/api"
