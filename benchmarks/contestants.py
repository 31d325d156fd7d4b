"""Who takes turns in ``benchmarks/throughput.py``: each has ``turn(steps)``, which answers with
seconds and what it knows.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PROJECTOR = (512, 128)
ENDLESS = 1000
"""Batches a loader could give: more than any run of the benchmark takes."""
CHECKPOINT_EVERY = 50
"""As in params.yaml."""


@dataclass(frozen=True)
class Case:
    """A network and the images it sees."""

    backbone: str
    size: int
    stem: Literal["small", "standard"]
    archive: str
    targets: dict[str, float]
    steps: int


def policy() -> Any:
    """lightly's SimCLRTransform in this engine's words, blur included."""
    from stages.core.image.views.policy import Policy

    jitter = {"op": "jitter", "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    ops = (
        {"op": "crop", "scale": (0.08, 1.0)},
        {"op": "flip"},
        jitter,
        {"op": "grey"},
        {"op": "blur", "probability": 0.5},
    )
    return Policy(name="simclr", why="the peer's", views=(ops,), local=())


class Ours:
    """Turns of the real training loop."""

    def __init__(self, case: Case, folder: Path, batch: int, precision: str) -> None:
        import numpy as np

        from stages.core import compute
        from stages.core.image.backbones import create_backbone
        from stages.core.image.decode import decode, resize
        from stages.core.image.preprocess import Preprocess
        from stages.core.image.views.engine import ViewEngine
        from stages.core.training.batches import Pixels, ViewBatches
        from stages.pretrain.methods.simclr import SimCLR

        compute.deterministic()
        self.case, self.precision = case, precision
        decoded = [
            resize(decode(file, 3, 10**8), case.size, "bilinear")
            for file in sorted(folder.iterdir())
        ]
        self.pixels = np.stack(decoded).transpose(0, 3, 1, 2)
        rows = np.arange(len(decoded))
        preprocess = Preprocess.from_pixels(self, rows)
        backbone = create_backbone(case.backbone, 3, case.size, 0, stem=case.stem)
        self.module = SimCLR(backbone, SimCLR.Settings(projector=PROJECTOR), len(rows), 0)
        engine = ViewEngine(policy(), SimCLR.views, preprocess)
        self.batches = ViewBatches(Pixels(self, rows), engine, batch, 0, [str(row) for row in rows])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As a pixel store has it."""
        n, c, h, w = self.pixels.shape
        return n, c, h, w

    def gather(self, rows: Any) -> Any:
        """Images by row."""
        import torch

        return torch.from_numpy(self.pixels[rows])

    def turn(self, steps: int) -> dict[str, float]:
        """Train for some steps; a checkpoint counts with its share of the ``checkpoint_every``
        steps it comes once in.
        """
        from stages.core.events import Tracker
        from stages.core.training.checkpoint import Identity, Resume
        from stages.core.training.loop import Recipe, fit

        plan = Recipe(
            "bench",
            0,
            steps,
            1e-3,
            1e-4,
            precision=self.precision,
            checkpoint_every=10**9,
            log_every=10,
        )
        resume = Resume(Identity({}, {}), Path(tempfile.mkdtemp()))
        with Tracker("bench") as track:
            began = time.perf_counter()
            history = fit(self.module, self.batches, plan, resume, track)
            _wait()
            seconds = time.perf_counter() - began
        resume.clear()
        seconds -= history.seconds["checkpoint"] * (1 - steps / CHECKPOINT_EVERY)
        return {"seconds": seconds, **self._phases(steps)}

    def _phases(self, steps: int) -> dict[str, float]:
        """Seconds that views and images take in so many steps, found by making a batch or two more,
        after the turn.
        """
        from stages.core.random import generator

        size = self.batches.size
        began = time.perf_counter()
        images = self.batches.pixels(self.batches.order(0))
        _wait()
        middle = time.perf_counter()
        draws = self.batches.engine.sample(size, generator(0, "bench"))
        self.batches.engine.apply(images, draws, self.batches.order(0).to(images.device))
        _wait()
        return {"data": (middle - began) * steps, "views": (time.perf_counter() - middle) * steps}


class Lightly:
    """Turns of lightly's own example."""

    def __init__(self, case: Case, folder: Path, batch: int) -> None:
        import torch
        from lightly.data import LightlyDataset
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform

        from stages.core.image.backbones import create_backbone

        data = LightlyDataset(str(folder.parent), transform=SimCLRTransform(input_size=case.size))
        rows = [number % len(data) for number in range(batch * ENDLESS)]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(data, rows), batch, num_workers=2, drop_last=True
        )
        self.batches = iter(loader)
        backbone = create_backbone(case.backbone, 3, case.size, 0, stem=case.stem)
        self.network = torch.nn.Sequential(
            backbone, SimCLRProjectionHead(backbone.num_features, *PROJECTOR)
        ).train()
        self.criterion = NTXentLoss()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.06)

    def turn(self, steps: int) -> dict[str, float]:
        """Some steps of a loop that goes on from turn to turn, so workers are running and their
        queues full.
        """
        began, waited = time.perf_counter(), 0.0
        for _ in range(steps):
            asked = time.perf_counter()
            first, second = next(self.batches)[0]
            waited += time.perf_counter() - asked
            loss = self.criterion(self.network(first), self.network(second))
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return {"seconds": time.perf_counter() - began, "waiting": waited}


class Bare:
    """Turns of the network alone on a constant tensor of two views."""

    def __init__(self, case: Case, batch: int) -> None:
        import torch

        from stages.core import compute
        from stages.core.image.backbones import create_backbone
        from stages.core.models.heads import mlp

        compute.deterministic()
        where, layout = compute.device(), torch.channels_last
        backbone = create_backbone(case.backbone, 3, case.size, 0, stem=case.stem)
        network = torch.nn.Sequential(backbone, mlp((backbone.num_features, *PROJECTOR), 0))
        self.network = network.to(where, memory_format=layout).train()  # type: ignore[call-overload]
        self.images = torch.zeros(2 * batch, 3, case.size, case.size, device=where).contiguous(
            memory_format=layout
        )

    def step(self) -> None:
        """Forward and backward."""
        from stages.core import compute

        with compute.autocast("auto"):
            loss = self.network(self.images).float().square().mean()
        loss.backward()
        self.network.zero_grad()

    def turn(self, steps: int) -> dict[str, float]:
        """Some steps, and the multiplications and additions in one."""
        from torch.utils.flop_counter import FlopCounterMode

        if not hasattr(self, "flops"):
            with FlopCounterMode(display=False) as counter:
                self.step()
            self.flops = float(counter.get_total_flops())
        began = time.perf_counter()
        for _ in range(steps):
            self.step()
        _wait()
        return {"seconds": time.perf_counter() - began, "flops": self.flops * steps}


class Peak:
    """Turns of square matrix products in bf16."""

    def __init__(self, side: int) -> None:
        import torch

        from stages.core import compute

        self.a = torch.ones(side, side, dtype=torch.bfloat16, device=compute.device())
        self.side = side

    def turn(self, steps: int) -> dict[str, float]:
        """About a second of products."""
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < 1:
            for _ in range(4):
                self.a @ self.a
            _wait()
            count += 4
        return {"seconds": time.perf_counter() - began, "flops": 2.0 * self.side**3 * count}


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
