"""The guide's pool of three sources through the whole pipeline: every image that went in is kept,
or says why not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.support.checkout import QUICKLY, ROOT, Project, checkout
from stages.core.plugins import names

pytestmark = pytest.mark.slow  # a minute and a half of all operators, audits and stages
GUIDE = re.findall(
    r"^```(\w*)\n(.*?)^```", (ROOT / "docs/data.md").read_text(), re.DOTALL | re.MULTILINE
)
OPERATORS = names("stages.curate.operators")
LEAST = (
    "pretrain.epochs=1",
    "distill.epochs=1",
    "finetune.steps=10",
    "evaluate.draws=1",
    "promote.resamples=100",
)


@dataclass(frozen=True)
class Images:
    """The class folders that the guide makes, and the uris of those that were torn or copied
    afterwards.
    """

    folder: Path
    torn: list[str]
    copies: list[str]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = tmp_path_factory.mktemp("images")
    script = next(text for language, text in GUIDE if not language and "/tmp/flowers" in text)
    lines = [
        line
        for line in script.replace("/tmp/", f"{folder}/").splitlines()
        if not line.startswith("rootstock")
    ]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-e"], input="\n".join(lines), text=True, check=True, env=environment)
    files = sorted((folder / "flowers").rglob("*.png"))
    torn, copied = files[:400:100], files[35:540:90]
    for file in torn:
        file.write_bytes(file.read_bytes()[:70])
    copies = [Path(shutil.copy(file, file.with_name(f"copy-of-{file.name}"))) for file in copied]
    return Images(
        folder,
        *([f"flowers:{file.parent.name}/{file.name}" for file in some] for some in (torn, copies)),
    )


@pytest.fixture(scope="module")
def ran(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """``rootstock run`` with the guide's example in params.yaml, otherwise as small as can be."""
    project = checkout(tmp_path_factory.mktemp("three"))
    example = next(text for language, text in GUIDE if language == "yaml" and "curate:" in text)
    sections = yaml.safe_load(example.replace("/tmp/", f"{images.folder}/"))
    file = project.root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    for section, changes in sections.items():
        params[section] |= changes
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    least = [part for assignment in LEAST for part in ("--set", assignment)]
    project.printed = project.rootstock("run", *QUICKLY, *least)
    return project


def test_every_image_is_kept_or_has_one_reason_and_the_counts_add_up(
    ran: Project, images: Images
) -> None:
    frame = pd.read_parquet(ran.root / "data/curated/manifest.parquet").set_index("uri")
    there = {
        "flowers": len(list((images.folder / "flowers").rglob("*.png"))),
        "shapes": 300,
        "digits": 1797,
    }
    assert (
        frame.groupby("source").size().to_dict()
        == there
        == {"flowers": 537 + 6, "shapes": 300, "digits": 1797}
    )
    assert (frame["keep"] ^ frame["reason"].notna()).all(), "kept, or with a reason, and never both"

    lost = frame["status"] == "quarantined"
    corrupt = frame.index[frame.index.str.contains("-corrupt")]
    assert set(frame.index[lost]) == {*images.torn, *corrupt} and len(corrupt) == 6
    by = frame["reason"].str.partition(":")[0].where(~lost)
    assert not set(frame.loc[lost, "reason"].str.partition(":")[0]) & set(OPERATORS)
    assert set(by.dropna()) <= set(OPERATORS)
    steps = json.loads((ran.root / "metrics/curate.json").read_text())["steps"]
    assert set(steps) == {"forgotten", *OPERATORS}, "all of them ran"
    counted = {
        name: int(found.get("dropped", found.get("copies", 0))) for name, found in steps.items()
    }
    assert by.value_counts().to_dict() == {name: count for name, count in counted.items() if count}
    assert frame["keep"].sum() + lost.sum() + sum(counted.values()) == sum(there.values())

    copies = [*images.copies, *frame.index[frame.index.str.contains("-copy-of-")]]
    assert len(copies) == 6 + 15
    alike = frame[frame["id"].isin(frame.loc[copies, "id"])].groupby("id")
    assert (alike["keep"].sum() <= 1).all()
    assert (
        alike["reason"].agg(
            lambda reasons: reasons.str.startswith("exact_duplicates: copy of ").sum()
        )
        >= 1
    ).all()
    written = pd.read_csv(ran.root / "reports/curate/dropped.csv").set_index("uri")["reason"]
    assert written.to_dict() == frame.loc[~frame["keep"], "reason"].to_dict()


def test_what_came_of_them_names_all_three_sources(ran: Project) -> None:
    assert len(ran.champion()) == 1
    printed = ran.rootstock("lineage", "rootstock-classifier@champion")
    sheet = (ran.root / "reports/validate/datasheet.md").read_text()
    fingerprint = json.loads((ran.root / ".rootstock/fingerprint.json").read_text())
    assert [source["source"] for source in fingerprint["sources"]] == [
        "flowers",
        "shapes",
        "digits",
    ]
    for name, spec in {
        "flowers": "/flowers'",
        "shapes": "synthetic:images=300",
        "digits": "digits",
    }.items():
        assert spec in next(line for line in printed.splitlines() if "ingest.source=" in line)
        assert f"| {name} |" in sheet
    assert "| CC0-1.0 | scikit-learn |" in sheet
    assert "digits, flowers, shapes" in (ran.root / "reports/evaluate/index.html").read_text()
    prototypes = pd.read_csv(ran.root / "reports/curate/prototypes.csv")
    assert {"flowers", "shapes", "digits"} <= set(prototypes.columns)
