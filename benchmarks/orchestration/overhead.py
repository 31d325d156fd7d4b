"""``rootstock run`` of four stages in a row over the bare commands."""

from __future__ import annotations

import shutil

from benchmarks.orchestration.project import Row, project


def measure() -> Row:
    """The row."""
    with project() as made:
        for number in range(4):
            made.stage(
                f"s{number}" if number < 3 else "last", 0.5, (f"s{number - 1}",) if number else ()
            )
        made.commit()
        made.again()
        bare = sum(made.call("/bin/sh", "-c", str(stage["cmd"])) for stage in made.stages.values())
        shutil.rmtree(made.root / "data")
        run = made.rootstock("run")
    return (
        "overhead per stage of `rootstock run` over the bare stages",
        "1 s",
        f"{(run - bare) / 4:.2f} s",
    )
