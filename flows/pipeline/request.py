"""What a pipeline run is asked for, and how to ask again when it was stopped. Imports nothing that
takes time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.pipeline.run import PipelineRun


@dataclass(frozen=True)
class RunRequest:
    """What one pipeline run is asked for."""

    to: str | None = None
    force: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    pool: str | None = None
    """Whose workers run the stages; None: this machine."""

    def command(self, run: PipelineRun | None = None) -> str:
        """The one command that goes on after ``run``: --set stands in params.yaml already, what was
        forced and ran is done.
        """
        done = run.outcomes if run else {}
        left = [name for name in self.force if name not in done or done[name].state != "ran"]
        options = {
            "to": [self.to] if self.to else [],
            "force": left,
            "pool": [self.pool] if self.pool else [],
        }
        return "rootstock run" + "".join(
            f" --{name} {value}" for name, values in options.items() for value in values
        )


class Stopped(KeyboardInterrupt):
    """Raised when a signal stopped the run; ``run`` is what was done by then, or None."""

    def __init__(self, run: PipelineRun | None) -> None:
        super().__init__()
        self.run = run
