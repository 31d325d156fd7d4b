"""Two processes are one process with the same global batch."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from stages.core import registry
from stages.core.backbones import create_backbone
from stages.core.training import distributed
from stages.pretrain.method import METHODS
from tests.transfer_project import ROOT

TOLERANCE = 1e-5


def start(module, arguments, directory, ranks):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(ranks):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", module, *arguments]
        running.append(
            subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
    for process in running:
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output.decode()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gradients")
    start("tests.pretrain.gradients", ["one.safetensors"], directory, 1)
    start("tests.pretrain.gradients", ["two.safetensors"], directory, 2)
    return load_file(directory / "one.safetensors"), load_file(directory / "two.safetensors")


@pytest.mark.parametrize("name", registry.names(METHODS))
def test_two_gloo_processes_give_the_gradient_of_one(both, name):
    one, two = ({key: value for key, value in grads.items() if key.startswith(f"{name}/")} for grads in both)
    assert one.keys() == two.keys()
    assert len(one) > 10
    largest = max(float(gradient.abs().max()) for gradient in one.values())
    assert largest > 0
    for key, gradient in one.items():
        assert float((gradient - two[key]).abs().max()) <= TOLERANCE * max(1.0, largest), key


def test_synchronised_norm_of_one_process_is_torchs_own():
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, ours = (create_backbone("test_resnet", 1, 16, seed=0).train() for _ in range(2))
    names = list(ours.state_dict())
    assert distributed.synchronised(ours) is ours
    assert list(ours.state_dict()) == names
    torch.testing.assert_close(ours(images), plain(images))
    assert not any(type(module) is nn.BatchNorm2d for module in ours.modules())


def test_one_process_needs_no_group():
    z = torch.ones(2, 3)
    with distributed.process_group():
        assert distributed.gather(z) is z
        assert distributed.total(z) is z
        assert (distributed.world(), distributed.rank()) == (1, 0)
        assert distributed.anywhere(True)
        assert not distributed.anywhere(False)
