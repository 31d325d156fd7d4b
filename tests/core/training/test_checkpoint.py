import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from stages.core.errors import DataError, Refused
from stages.core.training import checkpoint
from stages.core.training.checkpoint import Identity, Resume, pack, unpack
from stages.core.training.optim import create_optimizer

MINE = Identity({"epochs": 3}, {"images": "abc"})


def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path):
    resume = Resume(MINE, tmp_path)
    assert resume.load() is None
    for step in (5, 10, 15):
        resume.save(step, {"a": torch.full((2,), float(step))}, {"rows": [step]})
    assert [path.name for path in sorted(resume.directory.iterdir())] == ["000000010", "000000015"]
    tensors, state = resume.load()
    assert tensors["a"].tolist() == [15.0, 15.0]
    assert state["rows"] == [15]
    resume.clear()
    assert resume.load() is None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Identity({"epochs": 4}, MINE.inputs), "parameters"),
        (Identity(MINE.parameters, {"images": "xyz"}), "inputs"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_both_hashes(tmp_path, other, what):
    Resume(other, tmp_path).save(5, {"a": torch.zeros(1)}, {})
    (tmp_path / other.key).rename(tmp_path / MINE.key)
    with pytest.raises(Refused) as refusal:
        Resume(MINE, tmp_path).load()
    for identity in (MINE, other):
        assert identity.hashes()[what] in str(refusal.value)


def test_steps_of_other_code_are_kept_and_told(tmp_path, monkeypatch, capsys):
    Resume(MINE, tmp_path).save(5, {"a": torch.zeros(1)}, {})
    again = Resume(MINE, tmp_path)
    again.load()
    assert again.codes == [checkpoint.code()] and not capsys.readouterr().out
    before = checkpoint.code()
    monkeypatch.setattr(checkpoint, "code", lambda: "new")
    changed = Resume(MINE, tmp_path)
    changed.load()
    assert changed.codes == [before, "new"]
    assert "was written by other code" in capsys.readouterr().out
    changed.save(10, {"a": torch.zeros(1)}, {})
    later = Resume(MINE, tmp_path)
    later.load()
    assert later.codes == [before, "new"] and not capsys.readouterr().out


def test_an_unreadable_checkpoint_falls_back_to_the_one_before(tmp_path):
    resume = Resume(MINE, tmp_path)
    resume.save(5, {"a": torch.zeros(1)}, {})
    resume.save(10, {"a": torch.ones(1)}, {})
    (resume.directory / "000000010" / "tensors.safetensors").write_bytes(b"torn")
    assert resume.load()[1]["step"] == 5


def test_weights_and_optimiser_come_back_bit_by_bit(tmp_path):
    def trained(steps, module, optimizer):
        for _ in range(steps):
            module(torch.ones(2, 4)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    def fresh():
        module = nn.Linear(4, 3, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            module.weight.fill_(0.3), module.bias.fill_(0.1)
        optimizer = create_optimizer("adamw", module, 0.1)
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        return module, optimizer

    straight = fresh()
    trained(5, *straight)
    first, second, resume = fresh(), fresh(), Resume(MINE, tmp_path)
    trained(3, *first)
    resume.save(3, pack(*first), {})
    unpack(resume.load()[0], *second)
    trained(2, *second)
    assert torch.equal(straight[0].weight, second[0].weight)


def test_a_full_disk_is_one_clear_error_and_the_last_checkpoint_is_still_there(tmp_path):
    program = f"""
        import resource, torch
        from stages.core.errors import DataError
        from stages.core.training.checkpoint import Identity, Resume
        resume = Resume(Identity({{}}, {{}}), __import__("pathlib").Path({str(tmp_path)!r}))
        resume.save(1, {{"a": torch.ones(8)}}, {{}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            resume.save(2, {{"a": torch.ones(100000)}}, {{}})
        except DataError as error:
            print(error)
        print("left", resume.load()[1]["step"], [p.name for p in resume.directory.iterdir()])
    """
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    assert re.search(
        r"checkpoint of step 2 could not be written .*; the checkpoint of step 1 is still there",
        ran.stdout,
    )
    assert "left 1 ['000000001']" in ran.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_error_that_is_not_the_disk_is_not_hidden(tmp_path):
    resume = Resume(MINE, tmp_path / "file")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="there is no earlier one"):
        resume.save(1, {"a": torch.zeros(1)}, {})
