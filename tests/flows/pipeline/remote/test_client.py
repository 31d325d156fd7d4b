"""A stage that is asked of a pool and never begun: nobody waits for ever. What is killed in the
midst: test_work_pools.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.deployments import services
from flows.pipeline.remote.client import DIED, WORKER
from flows.pipeline.remote.mailbox import Mailbox
from flows.pipeline.remote.worker import work
from tests.flows.project.test_worktrees import inside
from tests.support.services import until
from tests.support.toy_stages import Tiny, tiny

HURRIED = """
import sys
from pathlib import Path
from flows.pipeline.remote import client as elsewhere
elsewhere.LOOK, elsewhere.ALONE = 0.2, 2.0
sys.exit(elsewhere.follow(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.fixture
def project(tmp_path: Path, server: str) -> Iterator[Tiny]:
    """One whose pool ``empty`` has no worker."""
    made = tiny(tmp_path / "project")
    (made.root / "flows").symlink_to(Path(services.__file__).parents[1])
    made.rootstock("deploy", "stage-worker", "--pool", "empty")
    with inside(made, made.root):
        yield made


def follow(project: Tiny, errand: Mailbox) -> subprocess.Popen[str]:
    """Ask the pool, with little patience."""
    command = [sys.executable, "-c", HURRIED, "empty", str(errand.folder)]
    return subprocess.Popen(
        command, cwd=project.root, env=project.environment(), stdout=subprocess.PIPE, text=True
    )


def asked(server: str, errand: Mailbox) -> list[dict[str, object]]:
    """The run that was asked for, as Prefect has it."""
    found = httpx.post(
        f"{server}/flow_runs/filter", json={"flows": {"name": {"any_": [WORKER]}}}, timeout=30
    ).json()
    return [run for run in found if run["parameters"]["folder"] == str(errand.folder)]


def test_where_no_worker_shows_itself_the_stage_is_given_up_with_the_reason(
    project: Tiny, server: str
) -> None:
    errand = Mailbox.new(["root"], {})
    out, _ = follow(project, errand).communicate(timeout=60)
    first, last = out.splitlines()
    assert first == "waits for a worker: prefect worker start --pool empty starts one"
    assert last.startswith("no worker of the pool 'empty' has shown itself for")
    assert not errand.folder.exists()
    (run,) = asked(server, errand)
    assert run["state_type"] == "CANCELLED"  # a worker that comes later leaves it alone


def test_a_stage_whose_worker_died_before_it_began_is_tried_again(
    project: Tiny, server: str
) -> None:
    errand = Mailbox.new(["root"], {})
    following = follow(project, errand)
    (run,) = until(lambda: asked(server, errand))
    httpx.post(
        f"{server}/flow_runs/{run['id']}/set_state",
        json={"state": {"type": "PENDING"}, "force": True},
        timeout=30,
    )
    out, _ = following.communicate(timeout=60)
    assert "took it and is gone" in out
    assert following.returncode == DIED


def test_a_worker_leaves_alone_what_nobody_wants_any_more(project: Tiny) -> None:
    errand = Mailbox.new(["root"], {})
    assert work(errand.folder) is None
    assert not errand.folder.exists()
    assert work(errand.folder) is None
    assert not errand.folder.exists()


def test_what_is_wanted_runs_and_its_end_is_told(project: Tiny) -> None:
    errand = Mailbox.new(["root"], {})
    with errand.wanting():
        assert work(errand.folder) == 0
    assert (errand.begun, errand.forsaken, errand.code) == (True, False, 0)
    assert errand.lines.read_text() == ".\n"


WORKS = """
import sys, time
from pathlib import Path
from flows.pipeline.remote.mailbox import Mailbox
with Mailbox(Path(sys.argv[1])).working():
    print("here", flush=True)
    time.sleep(600)
"""


def test_what_a_dead_worker_began_is_forsaken(project: Tiny) -> None:
    errand = Mailbox.new(["root"], {})
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKS, errand.folder],
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout and worker.stdout.readline() == "here\n"
    assert errand.begun and not errand.forsaken
    worker.kill()
    worker.wait()
    assert errand.forsaken
