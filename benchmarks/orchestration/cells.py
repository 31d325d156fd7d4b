"""24 cells, of each of which two thirds are shared, against the same cells one by one, nothing
shared.
"""

from __future__ import annotations

import sys

from benchmarks.orchestration.project import Row, project


def measure() -> Row:
    """The row."""
    seeds = 24
    with project() as made:
        made.stage("pool", 0, data=True)
        made.stage("first", 4, ("pool",))
        made.stage("second", 4, ("first",))
        made.stage("last", 4, ("second",), ("seed",))
        made.commit()
        made.call(sys.executable, "-m", "dvc", "repro", "-q", "-s", "pool")
        ours = made.rootstock("experiment", "--seeds", str(seeds), "--jobs", "4", "--name", "bench")
    with project() as made:
        made.stages = {}
        for name, inputs, params in (
            ("pool", (), ()),
            ("first", ("pool",), ()),
            ("second", ("first",), ()),
            ("last", ("second",), ("seed",)),
        ):
            made.stage(name, 0 if name == "pool" else 4, inputs, params)
        made.commit()
        sample = 2
        alone = 0.0
        for seed in range(sample):
            text = (made.root / "params.yaml").read_text()
            (made.root / "params.yaml").write_text(
                text.replace(f"seed: {max(seed - 1, 0)}", f"seed: {seed}", 1)
            )
            alone += made.call(sys.executable, "-m", "dvc", "repro", "-q", "--force")
        theirs = alone / sample * seeds
    words = (
        f"{ours / theirs:.2f} ({ours:.0f} s ÷ {theirs:.0f} s, {sample} cells measured, times"
        f" {seeds // sample})"
    )
    return "24-cell experiment, two thirds shared ÷ one by one without sharing", "0.45", words
