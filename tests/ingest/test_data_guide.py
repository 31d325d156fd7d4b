"""docs/data.md: its commands make the data they speak of, and the sources they name are read. Nothing is downloaded."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from image_folders import ROOT, params_with, run_stage

from stages.core import paths
from stages.core.manifest import Manifest
from stages.core.sources import KINDS, parse

BLOCKS = re.findall(r"```\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)


def source_of(command: str) -> str:
    words = shlex.split(command)
    assert words[:4] == ["rootstock", "run", "--to", "validate"]
    assert words[4] == "--set"
    key, _, value = words[5].partition("=")
    assert key == "ingest.source"
    return value


def test_every_kind_of_source_has_its_commands():
    kinds = {parse(source_of(line)).kind for block in BLOCKS for line in block.splitlines() if line.startswith("rootstock")}
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
        subprocess.run(["bash", "-e"], input="\n".join(lines), text=True, check=True, env=environment)
        run_stage("ingest", params_with(ingest={"source": source_of(last), "labelled_fraction": 1}))
        frame = Manifest.read(paths.POOL_MANIFEST).frame
        assert (frame["status"] == "ok").all()
        found[parse(source_of(last)).kind] = (len(frame), frame["label"].nunique(), frozenset(frame["id"]))
    assert found["folder"][:2] == (537, 3)
    assert found["folder"] == found["tar"] == found["parquet"]
    assert found["synthetic"][0] == 600


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_table_names_every_kind(kind):
    assert f"| `{kind}" in (ROOT / "docs/data.md").read_text()
