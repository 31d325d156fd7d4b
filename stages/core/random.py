"""Randomness with an address: every draw is a function of the seed and of where it happens, so
there is no state to save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


def address(seed: int, *path: object) -> int:
    """Hash the seed and the path into 63 bits. Equal arguments give equal numbers on every
    machine.
    """
    text = "/".join([str(seed), *(str(part) for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def addresses(seed: int, *path: object, names: Iterable[str]) -> npt.NDArray[np.int64]:
    """``address(seed, *path, name)`` of many names."""
    above = hashlib.sha256("/".join([str(seed), *(str(part) for part in path), ""]).encode())
    found = []
    for name in names:
        one = above.copy()
        one.update(name.encode())
        found.append(one.digest()[:8])
    return (np.frombuffer(b"".join(found), ">u8") >> 1).astype(np.int64)


def generator(seed: int, *path: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator, for example ``generator(seed, "views", epoch, step, rank)``."""
    import torch

    return torch.Generator(device=device).manual_seed(address(seed, *path))


def numpy_generator(seed: int, *path: object) -> np.random.Generator:
    """The same address for numpy and scikit-learn."""
    return np.random.Generator(np.random.PCG64(address(seed, *path)))
