"""What two processes under the stage's own torchrun do for the tests, in a directory: gradients, a
run that shares out the weights of a transformer and is interrupted, and a run that loses a worker.

The worker of rank 1 kills itself once; torchrun starts both anew, which skip what is done and go on
from the checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.core.params import Params
from stages.core.training import distributed
from stages.pretrain import train
from stages.pretrain.launch import launch
from tests.pretrain.gradients import SHARDED, gradients
from tests.pretrain.pretraining import Interrupted, interrupted_at, killing_at, quick, run, tell

DIES_AT = 6
"""Of nine steps; a checkpoint follows every second."""
INTERRUPTED_AT = 3


def sharding() -> Params:
    """A small transformer whose weights two processes share, for three steps."""
    return quick(
        pretrain__epochs=1,
        pretrain__backbone=SHARDED,
        pretrain__precision="fp32",
        pretrain__sync_batchnorm=True,
        pretrain__launch={"processes": 2, "shard_above": 0},
    )


def main() -> None:
    launch()
    torch.set_num_threads(1)
    with distributed.process_group():
        if not Path("gradients.safetensors").exists():
            _first(gradients(), "gradients.safetensors")
        _sharded()
        _run("whole", quick(pretrain__sync_batchnorm=True))
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and distributed.rank() == 1:
            train.method_class = lambda name: killing_at(DIES_AT)  # type: ignore[assignment]
        _run("killed", quick(pretrain__sync_batchnorm=True))


def _first(found: dict[str, torch.Tensor], file: str) -> None:
    if distributed.rank() == 0:
        save_file(found, file)
    distributed.barrier()


def _sharded() -> None:
    _run("shared", sharding())
    unhindered = train.method_class
    train.method_class = lambda name: interrupted_at(INTERRUPTED_AT)  # type: ignore[assignment]
    try:
        _run("interrupted", sharding())
    except Interrupted:
        pass
    finally:
        train.method_class = unhindered
    _run("interrupted", sharding())


def _run(directory: str, params: Params) -> None:
    distributed.barrier()
    if Path(directory, "out.json").exists():
        return
    with _inside(directory):
        trained = run(params)
        if distributed.rank() == 0:
            tell(trained)
        distributed.barrier()


@contextmanager
def _inside(directory: str) -> Iterator[None]:
    here = Path.cwd()
    Path(directory).mkdir(exist_ok=True)
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(here)


if __name__ == "__main__":
    main()
