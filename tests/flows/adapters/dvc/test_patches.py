"""Who is killed while DVC writes its lock file leaves the old one; one that is empty already stops
nobody.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import yaml

HALF = """
import os
from dvc.utils.serialize import _yaml
from flows.adapters.dvc.patches import write_whole
write_whole()
def dies(data, stream):
    stream.write("stages:")
    stream.flush()
    os._exit(9)
_yaml._dump_data("dvc.lock", {}, dies)
"""


def test_a_lock_file_is_written_beside_and_takes_its_name_in_one_step(project: Any) -> None:
    lock = project.root / "dvc.lock"
    assert project.rootstock("run").code == 0
    before, inode = lock.read_text(), lock.stat().st_ino
    project.add("d", ["data/b.txt", "data/c.txt"], "data/d.txt", "D")
    keeps = lock.open()  # or its number could be given to the new file
    assert project.rootstock("run").code == 0
    assert lock.read_text() != before and lock.stat().st_ino != inode, "written in place"
    keeps.close()
    killed = subprocess.run([sys.executable, "-c", HALF], cwd=project.root, check=False)
    assert killed.returncode == 9
    assert "stages:\n" in lock.read_text() and project.rootstock("run").code == 0


def test_an_emptied_lock_file_costs_nothing_but_a_look_into_the_run_cache(project: Any) -> None:
    assert project.rootstock("run").code == 0
    lock = project.root / "dvc.lock"
    before = lock.read_text()
    lock.write_text("")
    again = project.rootstock("run")
    assert again.code == 0, again
    assert set(project.states(again.out).values()) == {"restored"}
    assert yaml.safe_load(lock.read_text()) == yaml.safe_load(before)


def test_a_lock_file_with_the_marks_of_a_merge_is_told_with_what_to_do(project: Any) -> None:
    assert project.rootstock("run").code == 0
    lock = project.root / "dvc.lock"
    before = lock.read_text()
    lock.write_text("<<<<<<< HEAD\n" + before)
    refused = project.rootstock("run")
    assert (
        refused.code == 2
        and "git checkout dvc.lock" in refused.err
        and "rm dvc.lock" in refused.err
    ), refused
    lock.unlink()
    assert project.rootstock("run").code == 0
    assert yaml.safe_load(lock.read_text()) == yaml.safe_load(before)


def test_how_long_stages_took_may_be_lost_and_nothing_else_is(project: Any) -> None:
    assert project.rootstock("run").code == 0
    for number, damaged in enumerate(("", "{", "[]")):
        (project.root / ".rootstock/seconds.json").write_text(damaged)
        project.add("d", ["data/b.txt", "data/c.txt"], "data/d.txt", f"D{number}")
        assert project.rootstock("plan").code == 0
        again = project.rootstock("run")
        assert again.code == 0 and project.states(again.out)["d"] == "ran", again
