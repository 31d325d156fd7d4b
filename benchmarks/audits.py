"""Audits against injected faults: ``python -m benchmarks.audits [SEEDS_CLEAN [SEEDS_FAULTY]]`` (100 and 30).

Rendered shapes, 600 images of 32 pixels per seed. Prints how often each audit raises a finding on clean data, how often on data
with its fault, and recall and precision of the images it names. Nothing is written outside a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from stages.core import paths
from stages.core.audits import parse_audits
from stages.core.manifest import Manifest
from stages.core.params import Params, load_params
from stages.core.pixels import PixelStore
from stages.core.progress import Progress
from stages.core.sources import sources
from stages.ingest.collect import complete_manifest, decode_images, list_sources
from stages.ingest.resolve import Store
from stages.validate.audit import Pool
from stages.validate.profile import Profile, name_of

FAULTS = {
    "near_duplicates": ("near_duplicates=0.05", "near-copy"),
    "label_noise": ("label_noise=0.1", "mislabelled"),
    "imbalance": ("imbalance=60", ""),
    "order": ("drift=true", ""),
    "poison": ("poison=0.02", "poisoned"),
    "poison (spectral)": ("spectral_poison=0.02", "spectral"),
    "drift": ("drift=true", ""),
}


def pool_of(switches: str, seed: int, folder: Path, root: Params) -> Pool:
    """An ingested pool with every training label visible, compared with a fresh clean one."""
    values = root.model_dump(by_alias=True)
    values["ingest"] |= {"source": f"synthetic:images=600,seed={seed},{switches}", "labelled_fraction": 1}
    params = Params.model_validate(values)
    listed = list_sources(sources(params.ingest), params)
    facts = decode_images(listed, Store(32, 3), params.ingest.max_pixels, folder / "pixels", folder / "cache")
    return Pool(Manifest(complete_manifest(listed, facts, params)), PixelStore.open(folder / "pixels"), seed)


def reference(seed: int, folder: Path, root: Params) -> str:
    """The profile of clean data of another seed."""
    profile = folder / "profile.parquet"
    Profile.of(pool_of("", seed, folder, root)).write(profile)
    return str(profile.rename(folder / f"{name_of(profile)}.parquet"))


def main() -> None:
    """Print the table."""
    clean, faulty = (int(sys.argv[place]) if len(sys.argv) > place else default for place, default in ((1, 100), (2, 30)))
    params = load_params(paths.PARAMS)
    audits = {audit.name: audit for audit in parse_audits(params.validate_)}
    alarms: dict[str, list[bool]] = {name: [] for name in audits}
    named: dict[str, list[tuple[bool, float, float]]] = {name: [] for name in FAULTS}
    with tempfile.TemporaryDirectory() as scratch, Progress("audits", clean + faulty * len(FAULTS), "pools", every=30) as bar:
        folder = Path(scratch)
        past = reference(10_000, folder, params)
        for seed in range(clean):
            if seed % 10 == 0:
                past = reference(10_000 + seed, folder, params)
            pool = pool_of("", seed, folder, params)
            pool.reference = past
            for name, audit in audits.items():
                alarms[name].append(any(not answer.passed for answer in audit.module.audit(pool, audit.settings)))
            bar.advance()
        for row, (switches, fault) in FAULTS.items():
            audit = audits[row.split()[0]]
            for seed in range(faulty):
                pool = pool_of(switches, 1000 + seed, folder, params)
                pool.reference = past
                failed = [answer for answer in audit.module.audit(pool, audit.settings) if not answer.passed]
                rows = np.concatenate([answer.rows for answer in failed]) if failed else np.empty(0, np.int64)
                named[row].append((bool(failed), *_found(pool, rows, fault)))
                bar.advance()
    print(f"clean data, {clean} seeds: " + ", ".join(f"{name} {np.mean(found):.0%}" for name, found in alarms.items()))
    print(f"any audit: {np.mean(np.any(list(alarms.values()), axis=0)):.0%}")
    for row, found in named.items():
        detected, recall, precision = (np.mean(column) for column in zip(*found, strict=True))
        images = f"; images named: recall {recall:.2f}, precision {precision:.2f}" if FAULTS[row][1] else ""
        print(f"{row} ({FAULTS[row][0]}), {faulty} seeds: detected {detected:.0%}{images}")


def _found(pool: Pool, rows: np.ndarray, fault: str) -> tuple[float, float]:
    """Recall and precision of the named images; of near-copies those in another split than their original count."""
    frame = pool.manifest.frame
    faulty = frame["uri"].str.contains(fault).to_numpy(bool)
    if fault == "near-copy":
        place = {uri: row for row, uri in enumerate(frame["uri"])}
        copies = np.flatnonzero(faulty)
        originals = np.array([place.get(f"synthetic:{frame['uri'].iat[row][-5:]}", row) for row in copies])
        across = frame["split"].to_numpy()[copies] != frame["split"].to_numpy()[originals]
        faulty = np.zeros(len(frame), bool)
        faulty[copies[across]] = faulty[originals[across]] = True
    hit = faulty[rows].sum()
    return float(hit / max(faulty.sum(), 1)), float(hit / max(len(rows), 1))


if __name__ == "__main__":
    main()
