"""docs/guide.md, command by command, as a new user types it: own images, versions, experiment,
schedule, drift, rollback.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.support.checkout import ROOT, Project, checkout
from flows.cli import app
from flows.project.params_file import override

GUIDE = (ROOT / "docs/guide.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
    if "rootstock" in line
]
LEAST = (
    "ingest.labelled_fraction=1.0",
    "validate.audits=[]",
    "curate.steps=[exact_duplicates]",
    "pretrain.epochs=1",
    "pretrain.control=null",
    "distill.backbone=test_efficientnet",
    "distill.required=true",
    "distill.epochs=1",
    "finetune.steps=10",
    "evaluate.labels_per_class=[1]",
    "evaluate.draws=1",
    "evaluate.finetune_draws=1",
    "evaluate.bootstrap=100",
    "promote.resamples=100",
    "promote.gates.champion=1.0",
    "promote.gates.controls=false",
    "promote.gates.collapsed=false",
)
"""Every stage does something; what the models are worth is not the question, that they can be
compared is.
"""


def photos(folder: Path, images: range) -> None:
    """Handwritten digits of three classes as PNG files."""
    digits = load_digits(n_class=3)
    for number in images:
        place = folder / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(place / f"{number}.png")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = checkout(tmp_path_factory.mktemp("guide"))
    photos(made.root / "photos", range(240))
    photos(made.root / "incoming", range(400, 440))
    (made.root / ".gitignore").open("a").write("/photos/\n/incoming/\n")
    override(LEAST, made.root / "params.yaml")
    return made


def test_every_command_of_the_guide_is_one_the_program_takes() -> None:
    program = typer.main.get_command(app)
    for command in COMMANDS:
        words = shlex.split(command)
        arguments = words[words.index("rootstock") + 1 :]
        where, context = (
            program,
            program.make_context("rootstock", list(arguments), resilient_parsing=True),
        )
        while hasattr(where, "commands"):
            name, *arguments = arguments
            where = where.commands[name]
        assert where.make_context(command, list(arguments), parent=context).params is not None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_guide_does_what_it_says(project: Project) -> None:
    assert len(COMMANDS) >= 12
    ran = []
    for command in COMMANDS:
        words = shlex.split(command)
        extra = dict(word.split("=", 1) for word in words[: words.index("rootstock")])
        arguments = words[words.index("rootstock") + 1 :]
        if arguments[0] == "drift":
            drift(project, arguments, extra)
        else:
            if arguments[:2] == ["run", "--to"]:
                photos(project.root / "photos", range(240, 300))
            printed = project.rootstock(*arguments, **extra)
            if arguments[:2] == ["data", "diff"]:
                assert printed.split()[:2] == ["added", "60"], printed
        ran.append(arguments[0])
    assert {
        "run",
        "data",
        "experiment",
        "promote",
        "lineage",
        "up",
        "deploy",
        "notify",
        "drift",
        "search",
        "label-next",
        "map",
        "embed",
        "rollback",
        "down",
    } == set(ran)
    effects = json.loads(
        next((project.root / "reports/experiments").glob("*/effects.json")).read_text()
    )
    assert "v1" in effects["sentence"]
    assert (project.root / "reports/data/v1..v2/index.html").is_file()
    gates = (project.root / "reports/promote/gates.md").read_text()
    assert "test images that both were asked" in gates, (
        "the second version of the data has other test images, too"
    )


def drift(project: Project, arguments: list[str], extra: dict[str, str]) -> None:
    """Quiet or an alarm: both are answers."""
    process = project.start(*arguments, **extra)
    output, _ = process.communicate()
    assert process.returncode in (0, 1), output
    found = json.loads((project.root / "reports/drift/drift.json").read_text())
    assert found["alarm"] == (process.returncode == 1)
