"""Small pretraining runs that a test may kill: ``python -m tests.pretrain.pretraining
DIRECTORY:SEED:KILL_AT:THREADS…``.

Each runs in a process of its own, forked before anything is computed (loading torch fifteen times
would take longer than the runs). While step KILL_AT is computed it sends itself SIGKILL, at
−KILL_AT SIGTERM; 0 lets it finish and write ``out.json``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.core import compute
from stages.core.events import Tracker
from stages.core.image.views.engine import Views
from stages.core.io import write_json
from stages.core.params import Params
from stages.pretrain import train
from stages.pretrain.methods.simclr import SimCLR
from stages.pretrain.train import Data, Trained, pretrain
from tests.support.transfer import MOVES, Policy, Preprocess, small_manifest, small_params


class Store:
    """Pixels in memory, as a store."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = torch.from_numpy(pixels)
        self.shape = tuple(pixels.shape)

    def gather(self, rows: np.ndarray | Tensor) -> Tensor:
        """Images by row."""
        return self.pixels[torch.as_tensor(rows)]


POLICY = Policy(
    name="moves",
    why="a test",
    views=((*MOVES, {"op": "crop", "scale": [0.5, 1.0]}, {"op": "jitter"}, {"op": "noise"}),),
    local=(),
)


def quick(seed: int = 0, **changes: object) -> Params:
    """Nine steps, a checkpoint after every second, two probes."""
    settings: dict[str, float] = {
        "pretrain__epochs": 3,
        "pretrain__batch_size": 32,
        "pretrain__checkpoint_every": 2,
    }
    settings |= {"pretrain__probe_every": 2, "pretrain__probe_share": 0.9}
    params = small_params(**{"pretrain__backbone": "test_efficientnet", **settings, **changes})
    return params.model_copy(update={"seed": seed})


def small_data(count: int = 160) -> Data:
    """Digits: three fifths of them to train on."""
    manifest, pixels = small_manifest(count)
    store = Store(pixels)
    return Data(
        manifest,
        store,
        manifest.pretraining_rows(),
        POLICY,
        Preprocess.from_pixels(store, manifest.pretraining_rows()),
    )


def run(
    params: Params,
    method: str = "simclr",
    data: Data | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Trained:
    """Pretrain in the working directory, as a control: that runs to its last step, even where it is
    no better than raw pixels.
    """
    compute.deterministic()
    with Tracker("pretrain") as track:
        return pretrain(method, settings or {}, data or small_data(), params, track, "control")


def killing_at(step: int) -> type[SimCLR]:
    """An objective whose process dies while a step is computed."""

    class Killing(SimCLR):
        seen = 0

        def forward(self, views: Views) -> dict[str, Tensor]:
            Killing.seen += 1
            if Killing.seen == abs(step):
                os.kill(os.getpid(), signal.SIGKILL if step > 0 else signal.SIGTERM)
            return super().forward(views)

    return Killing


class Interrupted(Exception):
    """A run that ends in the middle of a step, its process living on."""


def interrupted_at(step: int) -> type[SimCLR]:
    """An objective that gives up while a step is computed, once."""

    class Interrupting(SimCLR):
        seen = 0

        def forward(self, views: Views) -> dict[str, Tensor]:
            Interrupting.seen += 1
            if Interrupting.seen == step:
                raise Interrupted
            return super().forward(views)

    return Interrupting


def one(seed: int, kill_at: int) -> None:
    """A run in the working directory."""
    if kill_at:
        train.method_class = lambda name: killing_at(kill_at)  # type: ignore[assignment]
    tell(run(quick(seed, pretrain__batch_size=16), data=small_data(80)))


def tell(trained: Trained) -> None:
    """``out.json`` in the working directory: weights, rows and metrics."""
    weights = {
        name: tensor.numpy().tobytes().hex()
        for name, tensor in trained.backbone.state_dict().items()
    }
    write_json(
        "out.json", {"weights": weights, "rows": trained.history.rows, "metrics": trained.metrics}
    )


def main() -> None:
    for job in sys.argv[1:]:
        directory, seed, kill_at, threads = job.rsplit(":", 3)
        child = os.fork()
        if child == 0:
            torch.set_num_threads(int(threads))
            os.chdir(directory)
            one(int(seed), int(kill_at))
            sys.stdout.flush()
            os._exit(0)
        print(job, "ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
