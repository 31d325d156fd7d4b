"""What two processes under the stage's own torchrun do for the tests, in a directory: gradients, and a run that loses a worker.

The worker of rank 1 kills itself once; torchrun starts both anew, which skip what is done and go on from the checkpoint.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.core.training import distributed
from stages.pretrain import train
from stages.pretrain.launch import launch
from tests.pretrain.gradients import gradients
from tests.pretrain.pretraining import killing_at, quick, run, tell

DIES_AT = 6
"""Of nine steps; a checkpoint follows every second."""


def main() -> None:
    launch()
    torch.set_num_threads(1)
    with distributed.process_group():
        if not Path("gradients.safetensors").exists():
            _first(gradients(), "gradients.safetensors")
        if not Path("whole/out.json").exists():
            _run("whole")
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and distributed.rank() == 1:
            train.method_class = lambda name: killing_at(DIES_AT)  # type: ignore[assignment]
        _run("killed")


def _first(found: dict[str, torch.Tensor], file: str) -> None:
    if distributed.rank() == 0:
        save_file(found, file)
    distributed.barrier()


def _run(directory: str) -> None:
    here = Path.cwd()
    (here / directory).mkdir(exist_ok=True)
    os.chdir(here / directory)
    trained = run(quick(pretrain__sync_batchnorm=True))
    if distributed.rank() == 0:
        tell(trained)
    distributed.barrier()
    os.chdir(here)


if __name__ == "__main__":
    main()
