"""Every objective there is keeps the family's promises; a new file is tested without a line
here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.core.training.teacher import Teacher
from stages.pretrain import train
from stages.pretrain.method import Method, method_class
from tests.families.learning import BROKEN, learned, score, signals, stopping
from tests.families.objectives import (
    NAMES,
    SHARDED,
    TRANSFORMER,
    gradients,
    module_of,
    network,
    settings_of,
    table,
    warmed,
)
from tests.families.oracles import ORACLES
from tests.pretrain.pretraining import Interrupted, quick, run, small_data
from tests.support.transfer import ROOT

VARIANTS = [
    ("mutual_information", {"bound": "nwj"}),
    ("mutual_information", {"bound": "jsd"}),
    ("supervised", {"projector": ()}),
]
CASES = [*((name, {}) for name in NAMES), *VARIANTS]
KINDS = {"control", "contrastive", "negative-free", "clustering", "masked", "pretext", "dense"}


@pytest.mark.parametrize("name", NAMES)
def test_it_names_its_paper_its_kind_and_what_it_needs(name):
    kind = method_class(name)
    assert kind.name == name
    assert kind.paper[-4:].isdigit()
    assert kind.kind in KINDS
    assert kind.needs <= {"tokens", "maps", "labels", "groups"}
    assert kind.modalities == {"image"}
    assert kind.__doc__


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())])
)
def case(request):
    """An objective after one update, and the views of its second step; tests copy it."""
    name, settings = request.param
    return name, settings, *warmed(name, settings)


def test_the_loss_is_that_of_a_naive_second_implementation(case):
    name, _, module, views = deepcopy(case)
    assert name in ORACLES, f"write the naive loss of {name} into tests/families/oracles/"
    expected = ORACLES[name](module, views)
    assert module(views)["loss"].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_gradients_reach_what_is_trained_and_nothing_else(case):
    name, _, module, views = deepcopy(case)
    module(views)["loss"].backward()
    for key, weight in module.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, key
        if name != "random" and weight.requires_grad and weight.ndim > 1:
            assert weight.grad.abs().sum() > 0, key


def test_state_moves_after_the_update_and_not_before(case):
    _, _, module, views = deepcopy(case)
    held = {key: value.clone() for key, value in state(module).items()}
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.01)
    module(views)["loss"].backward()
    optimizer.step()
    for key, value in state(module).items():
        assert torch.equal(value, held[key]), key
    module.after_step(0.5)
    teachers = [part for part in module.modules() if isinstance(part, Teacher)]
    if teachers:
        keys = [key for key in held if key.startswith("teacher.")]
        assert any(not torch.equal(state(module)[key], held[key]) for key in keys)
        assert not any(weight.requires_grad for weight in teachers[0].parameters())


def test_what_it_logs_are_scalars_and_among_them_a_signal_of_collapse(case):
    _, _, module, views = deepcopy(case)
    losses = module(views)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    assert 0 < losses["embedding_std"] < 2


def state(module: Method) -> dict[str, torch.Tensor]:
    """Teachers' weights and every buffer but those of batch norm."""
    own = {key: value for key, value in module.named_parameters() if key.startswith("teacher.")}
    norm = ("running_mean", "running_var", "num_batches_tracked")
    return own | {key: value for key, value in module.named_buffers() if not key.endswith(norm)}


def test_a_checkpoint_holds_all_that_the_next_step_needs(case):
    name, settings, module, views = deepcopy(case)
    fresh = module_of(name, small_data(), settings_of(name, settings))
    fresh.load_state_dict(module.state_dict())
    found = []
    for each in (module, fresh):
        losses = each(views)
        losses["loss"].backward()
        each.after_step(0.6)
        gradients = {key: weight.grad for key, weight in each.named_parameters()}
        found.append((losses, gradients, state(each)))
    for one, other in zip(*found, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert (value is None and other[key] is None) or torch.equal(value, other[key]), key


@pytest.mark.slow  # two minutes for all
@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_interrupted_ends_with_the_same_bytes(name, tmp_path, monkeypatch):
    params = quick(
        pretrain__backbone=network(name),
        pretrain__epochs=1,
        pretrain__batch_size=24,
        pretrain__precision="fp32",
    )
    settings = settings_of(name)
    found = []
    for stops in (False, True):
        directory = tmp_path / str(stops)
        directory.mkdir()
        monkeypatch.chdir(directory)
        if stops:
            with monkeypatch.context() as patch:
                patch.setattr(train, "method_class", lambda asked: stopping(asked, at=4))
                with pytest.raises(Interrupted):
                    run(params, name, settings=settings)
        trained = run(params, name, settings=settings)
        found.append(
            {key: value.numpy().tobytes() for key, value in trained.backbone.state_dict().items()}
        )
        found.append(trained.history.rows)
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert all(np.isfinite(row["loss"]) for row in found[1] if "loss" in row)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """State and gradients of one process and of two, on the same global batch."""
    file = tmp_path_factory.mktemp("pair") / "found.safetensors"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "tests.families.pair", str(file)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return load_file(file)


@pytest.mark.slow  # a minute: two processes, every objective
@pytest.mark.parametrize("name", NAMES)
def test_two_gloo_processes_give_the_gradient_of_one_and_the_same_state(name, both):
    equal(gradients(name), both, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARDED)
def test_two_processes_that_hold_parts_of_the_weights_give_the_gradient_of_one(name, both):
    equal(gradients(name, shard=True), both, f"{name} sharded")


def equal(one, both, start):
    """What one process found is what two found, by weight and buffer."""
    two = {key: value for key, value in both.items() if key.startswith(f"{start}/")}
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(
            two[key], value, atol=1e-12, rtol=1e-9, msg=lambda m, key=key: f"{key}: {m}"
        )


LEARNED = {
    "contrastive": 0.05,
    "negative-free": 0.02,
    "clustering": 0.02,
    "masked": 0.02,
    "pretext": 0.02,
    "dense": 0.02,
    "control": 0.02,
}
"""How much better features must be than those of the control that learns nothing, by kind."""


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Score of the control ``random``, by network."""
    known = {}

    def measure(backbone):
        if backbone not in known:
            with contextlib.chdir(tmp_path_factory.mktemp(backbone)):
                known[backbone] = score(learned("random", backbone))
        return known[backbone]

    return measure


@pytest.mark.slow  # four minutes for all
@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_features_get_better_than_those_of_a_control_that_learns_nothing(
    name, untrained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    kind = method_class(name)
    backbone = TRANSFORMER if "tokens" in kind.needs else "test_efficientnet"
    trained = learned(name, backbone)
    assert not trained.metrics["collapsed"]
    assert score(trained) >= untrained(backbone) + LEARNED[kind.kind]


@pytest.mark.slow  # a minute and a half
@pytest.mark.parametrize("name", BROKEN)
def test_the_signal_of_collapse_falls_when_what_prevents_it_is_taken_away(name, monkeypatch):
    signal, settings, replaced = BROKEN[name]
    healthy = signals(name, {})[signal]
    if replaced:
        monkeypatch.setattr(*replaced)
    broken = signals(name, settings)[signal]
    assert healthy > 0.5
    assert broken < 0.6 * healthy


def test_the_documentation_lists_every_objective():
    written = (ROOT / "docs/stages/pretrain.md").read_text().splitlines()
    assert [line for line in table() if line not in written] == []
    assert sum(line.startswith("| `") and line.count("|") == 5 for line in written) >= len(NAMES)
