"""``import rootstock``: the pipeline, its results and its models from Python, in another folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rootstock
from stages.core.models.inference import ImageClassifier, ImageEncoder
from tests.support.images import digit
from tests.support.toy_project import ROOT, Project


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside any project to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_a_classifier_answers_paths_bytes_and_arrays_alike(asked: Project, elsewhere: Path) -> None:
    digit(3).save("three.png")
    pixels = np.asarray(Image.open("three.png"))
    model = rootstock.load("rootstock-classifier@champion", project=asked.root)
    given = ["three.png", Path("three.png").read_bytes(), pixels]
    answers = model.predict(given)
    truth = ImageClassifier(asked.root / "models/classifier").predict([given[1]])[0]
    assert answers["image"].tolist() == ["three.png", "image 1", "image 2"]
    assert set(answers["label"]) == {truth["label"]}
    for name, value in truth["probabilities"].items():
        np.testing.assert_allclose(answers[f"p.{name}"], value, atol=1e-5)
    np.testing.assert_allclose(answers["probability"], truth["probability"], atol=1e-5)
    assert len(model.predict([])) == 0 and len(model.predict(np.stack([pixels] * 2))) == 2


def test_an_encoder_gives_vectors_and_refuses_to_predict(asked: Project, elsewhere: Path) -> None:
    digit(4).save("four.png")
    model = rootstock.load("rootstock-encoder@frozen-best", project=asked.root)
    truth = ImageEncoder(asked.root / "models/encoder").features([Path("four.png").read_bytes()])
    np.testing.assert_allclose(model.embed("four.png"), truth, atol=1e-5)
    with pytest.raises(rootstock.ConfigError, match="is an encoder: use embed"):
        model.predict("four.png")
    with pytest.raises(rootstock.DataError, match=r"^nowhere.png: cannot be read"):
        model.embed(["four.png", "nowhere.png"])
    with pytest.raises(rootstock.DataError, match=r"^image 0: float64 \(8, 8\) is no image"):
        model.embed(np.zeros((8, 8)))


def test_search_and_lineage_leave_folder_and_environment_alone(
    asked: Project, elsewhere: Path
) -> None:
    before = dict(os.environ)
    file = sorted((asked.root.parent / "in/1").iterdir())[0]
    shutil.copy(file, "one.png")
    found = rootstock.search("one.png", k=3, project=asked.root)
    assert found["uri"][0] == f"folder:1/{file.name}" and found["cosine"].is_monotonic_decreasing
    assert len(found) == 3 and found["cosine"][0] == pytest.approx(1, abs=1e-5)
    inside = rootstock.search("one.png", within=".", project=asked.root)
    assert inside["image"].tolist() == [str(elsewhere / "one.png")]
    chain = rootstock.lineage(project=asked.root)
    assert chain["model"] == "rootstock-classifier" and chain["steps"][0]["stage"] == "finetune"
    assert dict(os.environ) == before and Path.cwd() == elsewhere


def test_errors_are_the_command_lines_own(asked: Project, elsewhere: Path) -> None:
    with pytest.raises(rootstock.ConfigError, match="is not inside a Rootstock project"):
        rootstock.results()
    with pytest.raises(rootstock.DataError, match="is missing: rootstock"):
        rootstock.results(project=asked.root)
    with pytest.raises(rootstock.ConfigError, match="no version or alias 'none'"):
        rootstock.load("rootstock-encoder@none", project=asked.root)
    with pytest.raises(rootstock.RootstockError, match="k=0"):
        rootstock.search("one.png", k=0, project=asked.root)
    with pytest.raises(rootstock.ConfigError, match=r"pretrain\.epochs"):
        rootstock.plan(project=asked.root, pretrain={"epochs": "many"})


def test_run_plan_and_results(
    project: Project, elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = rootstock.plan(project=project.root)
    assert first["stage"].tolist() == ["a", "b", "c", "d"] and first["state"][0] == "run"
    rootstock.run(project=project.root, seed=5)
    assert "letters" in capfd.readouterr().out
    assert "seed: 5" in project.text("params.yaml") and project.text("data/d.txt") == "abacd"
    assert set(rootstock.plan(project=project.root)["state"]) == {"cached"}
    again = rootstock.plan(project=project.root, force="b", to="b")
    assert again[["stage", "state"]].to_numpy().tolist()[-1] == ["b", "run"]
    table = project.root / "reports/evaluate/table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("encoder,value\nraw,0.5\n")
    assert rootstock.results(project.root)["value"].tolist() == [0.5]


def test_a_stage_that_fails_raises_its_line(project: Project, elsewhere: Path) -> None:
    project.add("a", [], "data/a.txt", "a", body='    raise Refused("no letters today")')
    with pytest.raises(rootstock.Refused, match="no letters today"):
        rootstock.run(project=project.root)


def test_the_documents_example_runs(asked: Project, elsewhere: Path) -> None:
    for number in (1, 2):
        (elsewhere / "new").mkdir(exist_ok=True)
        digit(number).save(elsewhere / f"new/{number}.png")
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)[0]
    code = code.replace('project = "."', f"project = {str(asked.root)!r}")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=asked.environment()
    )
    assert done.returncode == 0, done.stderr
    assert "new/2.png" in done.stdout and "no version or alias 'nowhere'" in done.stdout
    assert "finetune" in done.stdout and "folder:1/" in done.stdout
