"""Audits against injected faults: ``python -m benchmarks.audits [--seeds 100] [--minutes N]``.

Rendered shapes, 600 images of 32 pixels. For every seed: clean data through all audits, and data
with each fault through the audit it is meant for. Prints how often each audit raises a finding on
clean data, how often on data with its fault, and recall and precision of the images it names. What
is found is kept as it goes in ``--scratch``, by the code and parameters that found it: the same
command goes on where the last one ended, and ``--minutes`` ends it early with the figures so far.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from stages.core import paths
from stages.core.audit_settings import parse_audits
from stages.core.data.manifest import Manifest
from stages.core.data.sources import sources
from stages.core.image.pixel_store import PixelStore
from stages.core.params import Params, load_params
from stages.core.plugin_lists import Named
from stages.core.progress import Progress
from stages.ingest.auto_settings import Store
from stages.ingest.collect import complete_manifest, decode_images, list_sources
from stages.validate.audit import Pool
from stages.validate.profile import Profile, name_of

COMMAND = "`python -m benchmarks.audits`"
CLEAN = "clean"
FAULTS = {
    "near_duplicates": ("near_duplicates=0.05", "near-copy"),
    "label_noise": ("label_noise=0.1", "mislabelled"),
    "imbalance": ("imbalance=60", ""),
    "groups": ("domains=3", "ungrouped"),
    "poison": ("poison=0.02", "poisoned"),
    "poison (spectral)": ("spectral_poison=0.02", "spectral"),
    "order": ("drift=true", ""),
    "drift": ("drift=true", ""),
}
UNGROUPED = 0.02
FAULTY = 1000
REFERENCES = 10
"""Clean pools of other seeds that drift is measured against, in turn."""
SOURCES = ("stages/validate", "stages/core", "stages/ingest", "params.yaml", "benchmarks/audits.py")


class Lab:
    """Pools by switches and seed, the last one kept, and the profiles that drift is measured
    against.
    """

    def __init__(self, folder: Path, params: Params) -> None:
        self.folder, self.params = folder, params
        self.last: tuple[str, int, Pool] | None = None

    def pool(self, switches: str, seed: int) -> Pool:
        """An ingested pool with every training label visible."""
        if self.last is None or self.last[:2] != (switches, seed):
            self.last = (switches, seed, self._ingested(switches, seed))
        return self.last[2]

    def reference(self, number: int) -> str:
        """The profile of clean data of another seed, named as ``rootstock reference`` would."""
        place = self.folder / f"reference-{number}"
        if not place.is_dir():
            place.mkdir()
            Profile.of(self._ingested("", 10_000 + number)).write(place / "new.parquet")
            (place / "new.parquet").rename(place / f"{name_of(place / 'new.parquet')}.parquet")
        return str(next(place.iterdir()))

    def _ingested(self, switches: str, seed: int) -> Pool:
        values = self.params.model_dump(by_alias=True)
        values["ingest"] |= {
            "source": f"synthetic:images=600,seed={seed},{switches}",
            "labelled_fraction": 1,
        }
        params = Params.model_validate(values)
        listed = list_sources(sources(params.ingest), params)
        facts = decode_images(
            listed,
            Store(32, 3),
            params.ingest.max_pixels,
            self.folder / "pixels",
            self.folder / "cache",
        )
        manifest = Manifest(complete_manifest(listed, facts, params))
        return Pool(manifest, PixelStore.open(self.folder / "pixels"), seed)


def on_clean(lab: Lab, audits: dict[str, Named], seed: int) -> dict[str, Any]:
    """Which audits raise a finding where there is nothing to find."""
    pool = lab.pool("", seed)
    pool.reference = lab.reference(seed % REFERENCES)
    found = {
        name: any(not answer.passed for answer in one.module.audit(pool, one.settings))
        for name, one in audits.items()
    }
    return {"row": CLEAN, "seed": seed, "alarms": found}


def on_faulty(lab: Lab, audits: dict[str, Named], row: str, seed: int) -> dict[str, Any]:
    """Whether an audit finds its fault, and how well it names the images."""
    switches, fault = FAULTS[row]
    audit = audits[row.split()[0]]
    pool = lab.pool(switches, FAULTY + seed)
    if fault == "ungrouped":
        pool = _ungrouped(pool)
    pool.reference = lab.reference(seed % REFERENCES)
    failed = [answer for answer in audit.module.audit(pool, audit.settings) if not answer.passed]
    rows = np.concatenate([answer.rows for answer in failed]) if failed else np.empty(0, np.int64)
    recall, precision = _named(pool, rows, fault) if fault else (None, None)
    return {
        "row": row,
        "seed": seed,
        "detected": bool(failed),
        "recall": recall,
        "precision": precision,
    }


def _ungrouped(pool: Pool) -> Pool:
    """A copy in which a few images have lost their group, as their uri says."""
    frame = pool.manifest.frame.copy()
    lost = pool.draw(np.arange(len(frame)), round(UNGROUPED * len(frame)), "ungrouped")
    frame.loc[lost, "group"] = None
    frame.loc[lost, "uri"] += "-ungrouped"
    return Pool(Manifest(frame), pool.store, pool.seed)


def _named(pool: Pool, rows: np.ndarray, fault: str) -> tuple[float, float]:
    """Recall and precision of the named images; of near-copies those in another split than their
    original count.
    """
    frame = pool.manifest.frame
    faulty = frame["uri"].str.contains(fault).to_numpy(bool)
    if fault == "near-copy":
        place = {uri: row for row, uri in enumerate(frame["uri"])}
        copies = np.flatnonzero(faulty)
        originals = np.array(
            [place.get(f"synthetic:{frame['uri'].iat[row][-5:]}", row) for row in copies]
        )
        across = frame["split"].to_numpy()[copies] != frame["split"].to_numpy()[originals]
        faulty = np.zeros(len(frame), bool)
        faulty[copies[across]] = faulty[originals[across]] = True
    hit = faulty[rows].sum()
    return float(hit / max(faulty.sum(), 1)), float(hit / max(len(rows), 1))


def measure(record: Path, seeds: int, minutes: float) -> None:
    """Append a line to the record for every row and seed it has not got; seed by seed, so that all
    rows get as far.
    """
    params = load_params(paths.PARAMS)
    audits = {audit.name: audit for audit in parse_audits(params.validate_)}
    done = {(line["row"], line["seed"]) for line in _read(record)}
    left = [
        (row, seed) for seed in range(seeds) for row in (CLEAN, *FAULTS) if (row, seed) not in done
    ]
    end = time.monotonic() + 60 * minutes
    with (
        tempfile.TemporaryDirectory() as scratch,
        record.open("a") as file,
        Progress("audits", len(left), "pools", 30) as bar,
    ):
        lab = Lab(Path(scratch), params)
        for row, seed in left:
            if time.monotonic() > end:
                break
            found = (
                on_clean(lab, audits, seed) if row == CLEAN else on_faulty(lab, audits, row, seed)
            )
            file.write(json.dumps(found) + "\n")
            file.flush()
            bar.advance()


def report(lines: list[dict[str, Any]]) -> None:
    """Print the figures."""
    by_row: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        by_row[line["row"]].append(line)
    alarms = [line["alarms"] for line in by_row[CLEAN]]
    if alarms:
        told = ", ".join(
            f"{name} {np.mean([alarm[name] for alarm in alarms]):.0%}" for name in alarms[0]
        )
        share = f"{np.mean([any(alarm.values()) for alarm in alarms]):.0%}"
        text = f"{share} of {len(alarms)} seeds; {told}"
        print(f"clean: any audit {text}")
        results.record(
            "audits", "clean data: seeds with a finding of any audit", COMMAND, text, "5 %"
        )
    for row, (switches, fault) in FAULTS.items():
        found = by_row[row]
        if not found:
            continue
        detected = np.mean([line["detected"] for line in found])
        text = f"{row} ({switches}), {len(found)} seeds: detected {detected:.0%}"
        if fault:
            recall, precision = (
                np.mean([line[what] for line in found]) for what in ("recall", "precision")
            )
            text += f"; images named: recall {recall:.2f}, precision {precision:.2f}"
        print(text)
        results.record("audits", f"`{row}` ({switches})", COMMAND, text.partition(": ")[2])


def _read(record: Path) -> list[dict[str, Any]]:
    """The finished lines; one that was cut off by a kill does not count."""
    if not record.is_file():
        return []
    lines = record.read_text().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        record.write_text("".join(lines[:-1]))
        lines.pop()
    return [json.loads(line) for line in lines]


def _version() -> str:
    """What the figures depend on."""
    whole = hashlib.sha256()
    for source in SOURCES:
        for file in sorted([Path(source), *Path(source).rglob("*.py")]):
            whole.update(file.read_bytes() if file.is_file() else b"")
    return whole.hexdigest()[:12]


def main() -> None:
    """Go on, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=100,
        help="of clean data and of each fault (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        help="end after so long, to go on another time",
    )
    scratch = Path(tempfile.gettempdir()) / "rootstock-audits"
    parser.add_argument(
        "--scratch",
        type=Path,
        default=scratch,
        help="where figures are kept (default: %(default)s)",
    )
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    record = arguments.scratch / f"{_version()}.jsonl"
    measure(record, arguments.seeds, arguments.minutes)
    report([line for line in _read(record) if line["seed"] < arguments.seeds])


if __name__ == "__main__":
    main()
