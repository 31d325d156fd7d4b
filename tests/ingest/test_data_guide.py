"""docs/data.md: its commands make the data they speak of, and the sources they name are read.
Nothing is downloaded.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.data.sources import KINDS, parse
from tests.support.images import ROOT, class_folders, params_with, run_stage

FENCED = re.findall(
    r"^```(\w*)\n(.*?)^```", (ROOT / "docs/data.md").read_text(), re.DOTALL | re.MULTILINE
)
BLOCKS = [text for language, text in FENCED if not language]


def source_of(command: str) -> str:
    words = shlex.split(command)
    assert words[:4] == ["rootstock", "run", "--to", "validate"]
    assert words[4] == "--set"
    key, _, value = words[5].partition("=")
    assert key == "ingest.source"
    return value


def test_every_kind_of_source_has_its_commands():
    kinds = {
        parse(source_of(line)).kind
        for block in BLOCKS
        for line in block.splitlines()
        if line.startswith("rootstock")
    }
    assert kinds == set(KINDS) - {"digits"}


def test_the_commands_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    found = {}
    for block in BLOCKS:
        text = block.replace("/tmp/", f"{tmp_path}/")
        if "download=True" in text:
            continue
        *lines, last = text.strip().splitlines()
        subprocess.run(
            ["bash", "-e"], input="\n".join(lines), text=True, check=True, env=environment
        )
        run_stage("ingest", params_with(ingest={"source": source_of(last), "labelled_fraction": 1}))
        frame = Manifest.read(paths.POOL_MANIFEST).frame
        assert (frame["status"] == "ok").all()
        found[parse(source_of(last)).kind] = (
            len(frame),
            frame["label"].nunique(),
            frozenset(frame["id"]),
        )
    assert found["folder"][:2] == (537, 3)
    assert found["folder"] == found["tar"] == found["parquet"]
    assert found["synthetic"][0] == 600


def test_the_example_of_several_sources_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = re.search(
        r"```yaml\n(ingest:\n  source:.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL
    )
    assert text
    example = yaml.safe_load(text[1].replace("/data/", f"{tmp_path}/data/"))
    class_folders(tmp_path / "data" / "birds", per_class=4)
    pool = class_folders(tmp_path / "pool", per_class=2)
    (tmp_path / "data" / "crawl").mkdir()
    subprocess.run(
        ["tar", "-cf", tmp_path / "data" / "crawl" / "000.tar", "-C", pool, "."], check=True
    )
    run_stage("ingest", params_with(ingest=example["ingest"]))
    frame = Manifest.read(paths.POOL_MANIFEST).frame
    assert (frame["status"] == "ok").all()
    assert frame.groupby("source").size().to_dict() == {"crawl": 6, "digits": 1797, "folder": 12}
    birds = frame[frame["source"] == "folder"]
    assert set(birds["license"]) == {"CC-BY-4.0"}
    assert set(birds["attribution"]) == {"Field Guide Project"}
    assert birds["label"].notna().any()
    assert frame[frame["source"] != "folder"]["label"].isna().all()
    assert set(frame[frame["source"] != "folder"]["role"]) == {"pool"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_table_names_every_kind(kind):
    assert f"| `{kind}" in (ROOT / "docs/data.md").read_text()
