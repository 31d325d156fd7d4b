"""The one training loop: plain torch, the same path on a CPU, a GPU and several processes, exact
when killed and resumed.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.core import compute
from stages.core.events import Tracker
from stages.core.progress import Progress
from stages.core.training import distributed, sharding
from stages.core.training.checkpoint import Resume, pack, unpack
from stages.core.training.guards import Diverged, Guard, finite_weights
from stages.core.training.history import History as History
from stages.core.training.history import Row
from stages.core.training.optim import BETAS, clip_gradients, create_optimizer
from stages.core.training.schedule import factor

Probe = Callable[[], Mapping[str, float | None]]
Stop = Callable[[Mapping[str, float | None], float], str | None]
"""Called after every probe but the last with its figures and the progress (0 to 1); a reason ends
the run.
"""


@dataclass(frozen=True)
class Recipe:
    """How long and how hard: everything resolved, nothing ``auto`` but the precision."""

    stage: str
    seed: int
    steps: int
    learning_rate: float
    weight_decay: float
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.1
    clip: float = 1.0
    precision: str = "auto"
    accumulate: int = 1
    checkpoint_every: int = 50
    log_every: int = 10
    probe_every: int = 0
    """Steps between probes; one follows the last step, too. 0: never."""
    compile: bool = False
    betas: tuple[float, float] = BETAS
    rate_key: str = "the learning rate"
    """What to lower when training diverges, such as ``pretrain.learning_rate``."""
    shard_above: float | None = None
    """Million weights of a transformer above which several processes share them out; None: each has
    them all.
    """


class Batches(Protocol):
    """What to train on: a function of the step."""

    size: int
    """Images of a global batch; a multiple of processes × accumulation."""

    def __call__(self, step: int, rows: slice) -> Any: ...
    def ids(self, step: int) -> list[str]: ...


def fit(
    module: nn.Module,
    batches: Batches,
    recipe: Recipe,
    resume: Resume,
    track: Tracker,
    probe: Probe | None = None,
    stop: Stop | None = None,
) -> History:
    """Train ``module`` in place and return what happened.

    ``module(batch)`` returns scalars by name, one of them ``loss``; its optional
    ``after_step(progress)`` runs after every update. ``stop`` may end the run after a probe; the
    reason is in the history.

    Raises:
        Diverged: three non-finite losses in a row, or weights or clean features that are no
            numbers; the last good checkpoint is kept and named.
        Refused: a checkpoint that belongs to other parameters or data.
    """
    return _Run(module, batches, recipe, resume, track, probe, stop).fit()


class _Run:
    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        recipe: Recipe,
        resume: Resume,
        track: Tracker,
        probe: Probe | None,
        stop: Stop | None,
    ) -> None:
        self.recipe, self.batches, self.resume, self.track = recipe, batches, resume, track
        self.probe, self.stop = probe, stop
        self.sharded = recipe.shard_above is not None and sharding.wanted(
            module, recipe.shard_above
        )
        self.module = self._placed(module).train()
        self.optimizer = create_optimizer(
            recipe.optimizer, self.module, recipe.weight_decay, recipe.betas
        )
        self.guard = Guard(recipe.stage, recipe.seed)
        self.history = History()
        self.recent: list[dict[str, float]] = []
        self.told: set[str] = set()
        self.unread: list[tuple[int, dict[str, Tensor]]] = []
        self.first = self.kept = self._restore()
        self.runner = self._runner()

    def fit(self) -> History:
        steps = self.recipe.steps
        with (
            Progress(self.recipe.stage, total=steps, unit="steps", start=self.first) as bar,
            _terminated() as asked,
        ):
            for step in range(self.first, steps):
                self._step(step)
                self._read(
                    keep=1
                )  # the previous step's numbers: a GPU is already busy with this one
                self._after(step + 1)
                bar.advance(1, **({"loss": self.recent[-1]["loss"]} if self.recent else {}))
                if self.history.stopped:
                    break
                if asked():
                    self._checkpoint(step + 1)
                    print(
                        f"{self.recipe.stage}: stopped at step {step + 1}; the same command goes on"
                        " from there",
                        flush=True,
                    )
                    break
        self._read()
        self.history.counts = self.guard.counts()
        return self.history

    def _placed(self, module: nn.Module) -> nn.Module:
        if self.sharded:
            return sharding.sharded(module.to(compute.device()))
        return cast(nn.Module, module.to(compute.device(), memory_format=torch.channels_last))  # type: ignore[call-overload]

    def _runner(self) -> nn.Module:
        runner: nn.Module = self.module
        if distributed.world() > 1 and not self.sharded:
            runner = distributed.replicated(runner)
        return cast(nn.Module, torch.compile(runner)) if self.recipe.compile else runner

    def _step(self, step: int) -> None:
        began = time.perf_counter()
        values: dict[str, Tensor] = {}
        micro = self.batches.size // (distributed.world() * self.recipe.accumulate)
        for number in range(self.recipe.accumulate):
            first = (distributed.rank() * self.recipe.accumulate + number) * micro
            start = time.perf_counter()
            batch = self.batches(step, slice(first, first + micro))
            self.history.seconds["data"] += time.perf_counter() - start
            last = number == self.recipe.accumulate - 1
            with self._unsynchronised(last), compute.autocast(self.recipe.precision):
                losses = self.runner(batch)
                (losses["loss"] / self.recipe.accumulate).backward()
            for name, value in losses.items():
                values[name] = values.get(name, 0) + value.detach() / self.recipe.accumulate
        values["gradient_norm"] = self._update(step, values["loss"])
        self.unread.append((step, values))
        self.history.seconds["compute"] += time.perf_counter() - began

    def _unsynchronised(self, last: bool) -> Any:
        if not last and isinstance(self.runner, DistributedDataParallel):
            return self.runner.no_sync()
        return nullcontext()

    def _update(self, step: int, loss: Tensor) -> Tensor:
        recipe = self.recipe
        norm = clip_gradients(self.module, recipe.clip)
        finite = torch.isfinite(distributed.total(loss)) & torch.isfinite(norm)
        # The optimiser skips the update on the device itself: nobody waits for the number.
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        after = getattr(self.module, "after_step", None)
        if callable(after):
            after((step + 1) / recipe.steps)
        return norm

    def _rate(self, step: int) -> float:
        recipe = self.recipe
        return recipe.learning_rate * factor(recipe.schedule, step, recipe.steps, recipe.warmup)

    def _read(self, keep: int = 0) -> None:
        """Take in the numbers of finished steps; every ``log_every`` steps their mean becomes a
        row.
        """
        while len(self.unread) > keep:
            step, tensors = self.unread.pop(0)
            names = list(tensors)
            values = dict(
                zip(
                    names,
                    torch.stack([tensors[name].float() for name in names]).tolist(),
                    strict=True,
                )
            )
            with self._advised():
                self.guard.see(step, values, lambda step=step: self.batches.ids(step))  # type: ignore[misc]
            if all(map(math.isfinite, values.values())):
                self.recent.append(values)
            if (step + 1) % self.recipe.log_every == 0 or step + 1 == self.recipe.steps:
                self._log(step + 1)

    def _log(self, step: int) -> None:
        means = {
            name: sum(row[name] for row in self.recent) / len(self.recent)
            for name in (self.recent or [{}])[0]
        }
        means["learning_rate"] = self._rate(step - 1)
        self.recent.clear()
        self._row(step, means)
        self.track.progress(step, self.recipe.steps, **means)

    def _row(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add values to the row of a step, and tell the tracker."""
        rows = self.history.rows
        if not rows or rows[-1]["step"] != step:
            rows.append({"step": step})
        rows[-1].update(values)
        self.track.metrics(values, step)

    def _after(self, done: int) -> None:
        recipe, last = self.recipe, done == self.recipe.steps
        look = (
            self.probe is not None
            and recipe.probe_every
            and (last or done % recipe.probe_every == 0)
        )
        keep = last or done % recipe.checkpoint_every == 0
        if look or keep:
            self._read()
            with self._advised():
                self._check_weights(done)
                if look:
                    found = self._look(done)
                    self._row(done, found)
                    if self.stop is not None and not last:
                        self.history.stopped = self.stop(found, done / recipe.steps) or ""
        due = keep and not self.history.stopped  # killed later, a stopped run must stop there again
        if due and not distributed.anywhere(not self.guard.calm):
            self._checkpoint(done)

    def _look(self, done: int) -> Row:
        """What the probe measures. No probe ends a run: one that fails is named once, a number that
        is none becomes None.

        Raises:
            Diverged: the probe found features that are no numbers.
        """
        assert self.probe is not None
        start = time.perf_counter()
        self.module.eval()
        try:
            found = dict(self.probe())
        except Diverged as error:
            raise Diverged(f"diverged at step {done}: {error}") from None
        except Exception as error:
            self._tell(
                "probe",
                f"the probe at step {done} failed and measured nothing ({type(error).__name__}:"
                f" {error})",
            )
            found = {}
        self.module.train()
        self.history.seconds["probe"] += time.perf_counter() - start
        return {name: self._number(name, value, done) for name, value in found.items()}

    def _number(self, name: str, value: float | None, done: int) -> float | None:
        if value is None or math.isfinite(value):
            return value
        self._tell(name, f"{name} at step {done} is no number: written as null")
        return None

    def _tell(self, about: str, line: str) -> None:
        if about not in self.told:
            self.told.add(about)
            print(f"WARNING: {self.recipe.stage}: {line}", flush=True)

    def _check_weights(self, done: int) -> None:
        if distributed.anywhere(not finite_weights(self.module)):
            raise Diverged(f"diverged at step {done}: the weights are no numbers any more")

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """Add what is left of a run that diverged, and what to change."""
        try:
            yield
        except Diverged as error:
            kept = f"step {self.kept}" if self.kept else "none, none was due yet"
            advice = f"lower {self.recipe.rate_key} (now {self.recipe.learning_rate:g})"
            raise Diverged(f"{error}; last good checkpoint: {kept}; {advice}") from None

    def _checkpoint(self, done: int) -> None:
        self._read()
        start = time.perf_counter()
        tensors = pack(self.module, self.optimizer)
        if distributed.rank() == 0:
            state = {"rows": self.history.rows, "recent": self.recent, "guard": self.guard.state}
            self.resume.save(done, tensors, state)
        self.kept = done
        distributed.barrier()
        self.history.seconds["checkpoint"] += time.perf_counter() - start

    def _restore(self) -> int:
        found = self.resume.load()
        if found is None:
            return 0
        tensors, state = found
        unpack(tensors, self.module, self.optimizer)
        self.history.rows, self.recent, self.guard.state = (
            state["rows"],
            state["recent"],
            state["guard"],
        )
        print(
            f"{self.recipe.stage}: goes on after step {state['step']} of {self.recipe.steps}",
            flush=True,
        )
        if len(self.resume.codes) > 1:
            self.track.tags({"resumed.codes": " ".join(code[:12] for code in self.resume.codes)})
        return int(state["step"])


@contextmanager
def _terminated() -> Iterator[Callable[[], bool]]:
    """Hold SIGTERM back until the step is over and its checkpoint written, then die of it as the
    sender expects.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: received.set())
    try:
        yield lambda: distributed.anywhere(received.is_set())
    finally:
        signal.signal(signal.SIGTERM, before)
    if received.is_set():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
