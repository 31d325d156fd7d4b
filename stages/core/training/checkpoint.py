"""Resume checkpoints: safetensors and JSON outside DVC's outputs, named after what is trained on
what.

A run has no random state to save (draws are functions of seed, epoch and step), so step, weights,
optimiser and history are all.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import stages
from stages.core import paths
from stages.core.errors import DataError, Refused
from stages.core.io import atomic_directory, canonical_json, read_json, write_json
from stages.core.training.sharding import like, on_first, shared_out

KEPT = 2
TENSORS, STATE = "tensors.safetensors", "state.json"


@cache
def code() -> str:
    """SHA-256 of the stages' source files, names and bytes."""
    root = Path(stages.__file__ or "").parent
    files = sorted(root.rglob("*.py"))
    return digest(
        {
            file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }
    )


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def identity_of(network: nn.Module, config: Mapping[str, Any]) -> str:
    """SHA-256 of a network's configuration and of every byte of its weights."""
    found = hashlib.sha256(canonical_json(dict(config)).encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class Identity:
    """What a checkpoint belongs to: resolved parameters and input data. Another of either is
    another run.
    """

    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def key(self) -> str:
        """The name of the checkpoint directory."""
        return digest({"parameters": dict(self.parameters), "inputs": dict(self.inputs)})[:32]

    def hashes(self) -> dict[str, str]:
        """The two hashes a refusal names."""
        return {"parameters": digest(dict(self.parameters)), "inputs": digest(dict(self.inputs))}


class Resume:
    """The checkpoints of one training run: saved atomically, the last two kept, cleared once its
    outputs are written.

    ``codes`` are the hashes of the code that trained so far, one after the other: days of training
    outlive a change of code, but nobody is to take them for the work of the new code alone.
    """

    def __init__(self, identity: Identity, root: Path = paths.RESUME) -> None:
        self.identity = identity
        self.directory = root / identity.key
        self.codes = [code()]

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint and drop all but the newest two.

        Raises:
            DataError: the disk is full or read-only; the last good checkpoint is still there.
        """
        contiguous = {
            name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
        }
        try:
            with atomic_directory(self.directory / f"{step:09}") as temporary:
                save_file(contiguous, temporary / TENSORS)
                write_json(
                    temporary / STATE,
                    {
                        "step": step,
                        "identity": self.identity.hashes(),
                        "codes": self.codes,
                        **state,
                    },
                )
        except (OSError, SafetensorError) as error:
            kept = self._steps()
            left = (
                f"the checkpoint of step {int(kept[-1].name)} is still there"
                if kept
                else "there is no earlier one"
            )
            raise DataError(
                f"{self.directory}: the checkpoint of step {step} could not be written ({error});"
                f" {left}"
            ) from None
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(old)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest readable checkpoint, or None.

        Raises:
            Refused: what lies there was made with other parameters or other data.
        """
        for directory in reversed(self._steps()):
            try:
                state: dict[str, Any] = read_json(directory / STATE)
                tensors = load_file(directory / TENSORS)
            except (DataError, SafetensorError, OSError) as error:
                print(
                    f"{directory} cannot be read ({error}); trying an earlier checkpoint",
                    flush=True,
                )
                continue
            self._compare(directory, state["identity"])
            self._continue(directory, state.get("codes", []))
            return tensors, state
        return None

    def clear(self) -> None:
        """Forget the run: its outputs are written."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _steps(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9]" * 9)) if self.directory.is_dir() else []

    def _continue(self, directory: Path, codes: list[str]) -> None:
        self.codes = codes if codes[-1:] == [code()] else [*codes, code()]
        if len(self.codes) > len(codes):
            print(
                f"{directory} was written by other code; to train with this code alone, delete"
                f" {self.directory}",
                flush=True,
            )

    def _compare(self, directory: Path, found: Mapping[str, str]) -> None:
        for what, mine in self.identity.hashes().items():
            if found.get(what) != mine:
                raise Refused(
                    f"{directory} was made with other {what}: its hash is {found.get(what)}, this"
                    f" run's is {mine}; delete it"
                )


def pack(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, buffers and optimiser state under flat names. Of a sharded module the whole on rank
    0, in the same form as ever; all processes must call it then.
    """
    packed = {f"module/{name}": on_first(tensor) for name, tensor in module.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        packed.update(
            {
                f"optimizer/{number}/{name}": on_first(torch.as_tensor(value))
                for name, value in values.items()
            }
        )
    return packed


def unpack(
    tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """The reverse of :func:`pack`, in place."""
    saved = {
        name.removeprefix("module/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("module/")
    }
    module.load_state_dict(shared_out(saved, module.state_dict()))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            number, _, field = rest.partition("/")
            state.setdefault(int(number), {})[field] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    for parameter, values in optimizer.state.items():
        for (
            name,
            value,
        ) in (
            values.items()
        ):  # fused AdamW walks raw memory: moments need the memory layout of their weight
            if value.shape == parameter.shape:
                values[name] = like(parameter, value)
