"""GPUs are handed out by a global concurrency limit of the Prefect server, so that it holds over
all runs that use the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = "rootstock-gpu"
LEASE = 60.0
"""Seconds after which a GPU is free again whose run was killed; one that lives renews its lease."""


def count() -> int:
    """How many GPUs a run may use: those of this machine, or as many as ``CUDA_VISIBLE_DEVICES``
    names.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([device for device in named.split(",") if device.strip() not in {"", "-1"}])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def declare(wanted: bool) -> None:
    """Declare how many stages may hold a GPU at once, where there is one and a stage wants it.

    A limit that exists stays as it is: on a cluster it counts more than this machine.
    """
    if wanted and count():
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound

        with get_client(sync_client=True) as client:
            try:
                client.read_global_concurrency_limit_by_name(LIMIT)
            except ObjectNotFound:
                client.upsert_global_concurrency_limit_by_name(LIMIT, count())


@contextmanager
def held(wanted: int) -> Iterator[None]:
    """Hold as many GPUs as a stage wants, where there are any; waits for other runs to give theirs
    back.
    """
    if wanted and count():
        from prefect.concurrency.sync import concurrency

        with concurrency(LIMIT, occupy=wanted, strict=True, lease_duration=LEASE):
            yield
    else:
        yield
