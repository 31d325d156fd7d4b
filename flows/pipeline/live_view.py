"""A stage while it runs, as Prefect shows it: a progress bar with step, loss, kNN and time left;
pictures where there are any.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import cast
from uuid import UUID

from flows.process.stage_events import Event
from stages.core.progress import clock

EVERY = 2.0
LARGEST_IMAGE = 2**20
PICTURES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


class LiveView:
    """The artifacts of one stage execution; at most one update in two seconds."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._bar: UUID | None = None
        self._began = self._shown = 0.0
        self._values: dict[str, float] = {}

    def see(self, event: Event) -> None:
        """Take one event in."""
        if event.kind == "metrics":
            self._values.update(
                {
                    name: value
                    for name, value in event.fields["values"].items()
                    if not name.startswith("system.")
                }
            )
        elif event.kind == "progress":
            self._values.update(event.fields["values"])
            self._progress(event, int(event.fields["done"]), int(event.fields["total"]))
        elif event.kind == "artifact":
            self._picture(Path(event.fields["path"]))

    def line(self, event: Event, done: int, total: int) -> str:
        """``pretrain: step 40 of 100, loss 0.31, knn 0.82, 1:10 left``."""
        rate = done / max(event.time - self._began, 1e-9)
        numbers = [
            f"{name} {value:.4g}"
            for name, value in self._values.items()
            if isinstance(value, int | float)
        ]
        left = f"{clock((total - done) / rate)} left" if rate and done < total else "done"
        return ", ".join([f"{self.stage}: step {done:,} of {total:,}", *numbers[:6], left])

    def _progress(self, event: Event, done: int, total: int) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        self._began = self._began or event.time
        if time.monotonic() - self._shown < EVERY and done < total:
            return
        self._shown = time.monotonic()
        share, about = 100.0 * done / max(total, 1), self.line(event, done, total)
        if self._bar is None:
            self._bar = cast(
                UUID,
                create_progress_artifact(
                    progress=share, key=f"progress-{self.key}", description=about
                ),
            )
        else:
            update_progress_artifact(self._bar, progress=share, description=about)

    def _picture(self, path: Path) -> None:
        from prefect.artifacts import create_image_artifact

        kind = PICTURES.get(path.suffix.lower())
        if kind and path.is_file() and path.stat().st_size <= LARGEST_IMAGE:
            content = base64.b64encode(path.read_bytes()).decode()
            name = "".join(sign if sign.isalnum() else "-" for sign in path.stem.lower())
            create_image_artifact(
                image_url=f"data:{kind};base64,{content}",
                key=f"{self.key}-{name}",
                description=str(path),
            )

    def show(self, folder: Path) -> None:
        """The pictures a finished stage left in its report folder."""
        for picture in sorted(folder.glob("*.png")):
            self._picture(picture)

    @property
    def key(self) -> str:
        """The stage's name as Prefect allows it in keys."""
        return "".join(sign if sign.isalnum() else "-" for sign in self.stage.lower())
