"""Several training processes on one machine: the stage turns itself into ``torchrun`` when
params.yaml asks for it.
"""

from __future__ import annotations

import os
import sys

from stages.core.errors import RootstockError
from stages.core.events import EVENTS_VARIABLE
from stages.core.launcher import forget_launcher, started_by_torchrun
from stages.core.params import load_params

RESTARTS = 3
"""How often a dead worker is started again; it goes on from the last checkpoint."""


def launch() -> None:
    """Become torchrun, return as one of its workers, or return at once when one process is enough.

    Only rank 0 reports: the others' events go nowhere. ``WORLD_SIZE`` and the like that a cluster
    left in the environment are removed: only torchrun's own count.
    """
    if started_by_torchrun():
        if os.environ.get("RANK", "0") != "0":
            os.environ[EVENTS_VARIABLE] = os.devnull
        return
    forget_launcher(os.environ)
    try:
        processes = load_params().pretrain.launch.processes
    except RootstockError:
        return  # the stage itself reports it, in its own words
    if processes > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
        runner = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            f"--max-restarts={RESTARTS}",
        ]
        os.execv(sys.executable, [sys.executable, *runner, "-m", "stages.pretrain", *sys.argv[1:]])
