"""Where every artifact lies, relative to the project root (the working directory of every
stage).
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")

POOL = Path("data/pool")
POOL_MANIFEST = POOL / "manifest.parquet"
POOL_PIXELS = POOL / "pixels"
CURATED_MANIFEST = Path("data/curated/manifest.parquet")

AUGMENTATION = Path("models/augmentation")
POLICY = AUGMENTATION / "policy.yaml"
PRETRAINED = Path("models/pretrained")
CONTROL = Path("models/control")
START_ENCODER = Path("models/start")
"""The weights that pretraining started from, as an encoder of their own: the row to beat."""
DISTILLED = Path("models/distilled")
FINETUNED = Path("models/finetuned")
SCRATCH = Path("models/scratch")
"""Classifier trained from the labels alone: the control of every fine-tuning."""

REPORTS = Path("reports")
METRICS = Path("metrics")
DATA_DOCS = REPORTS / "data_docs"

STATE = Path(".rootstock")
"""Everything that is neither an input nor an output: resume checkpoints, caches, event streams."""
RESUME = STATE / "resume"
CACHE = STATE / "cache"
EVENTS = STATE / "events"
FINGERPRINT = STATE / "fingerprint.json"
"""What ``ingest`` depends on instead of the source folder itself: one small file that changes when
the sources do.
"""

ENCODER = STATE / "encoder.json"
"""What ``curate`` depends on where its encoder comes from the registry: which model, its content
hash, where its files lie.
"""
START = STATE / "start.json"
TEACHER = STATE / "teacher.json"
"""What ``pretrain`` depends on where it starts from given weights: which file, its SHA-256, origin
and licence.
"""
WEIGHTS = STATE / "weights"
"""Public weights that ``rootstock weights get`` fetched, each with a JSON file beside it."""
PLUGINS = STATE / "plugins"
"""One file per stage with plugins: the code of those that params.yaml names, which the stage
depends on instead of the whole folder.
"""
ENCODERS = STATE / "encoders"
"""Registered encoders as files, each in a folder named after its content."""


def metrics(stage: str) -> Path:
    """The DVC metrics file of a stage."""
    return METRICS / f"{stage}.json"


def plugins(stage: str) -> Path:
    """The code of the plugins that a stage uses."""
    return PLUGINS / f"{stage}.json"


def reports(stage: str) -> Path:
    """The DVC report directory of a stage."""
    return REPORTS / stage
