"""What two processes under torchrun do for the tests: gradients of every objective on one batch."""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file

from stages.core.training import distributed
from tests.families.objectives import NAMES, SHARDED, gradients


def main() -> None:
    torch.set_num_threads(1)
    with distributed.process_group():
        found: dict[str, torch.Tensor] = {}
        for name in NAMES:
            found |= gradients(name)
        for name in SHARDED:
            found |= gradients(name, shard=True)
        if distributed.rank() == 0:
            save_file({key: value.contiguous() for key, value in found.items()}, sys.argv[1])
        distributed.barrier()


if __name__ == "__main__":
    main()
