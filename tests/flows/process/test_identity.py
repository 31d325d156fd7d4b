"""What is left of a tree of processes when its root is gone, and that it can be found and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from flows.process import identity

LEAVES_A_CHILD = """
import signal, subprocess, sys, time
def leave(*_):
    subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_child_begun_while_its_parent_ended_is_found_and_ended(tmp_path: Path) -> None:
    politely = "import time; time.sleep(60)"
    leader = begin(str(tmp_path), LEAVES_A_CHILD.replace("CHILD", repr(politely)))
    leader.send_signal(signal.SIGTERM)
    assert leader.wait() == 0
    (left,) = identity.with_environment(identity.MARK, str(tmp_path))
    assert os.getsid(left) != os.getsid(0)
    identity.end(str(tmp_path), grace=30)
    assert identity.with_environment(identity.MARK, str(tmp_path)) == []
    assert identity.began(left) == ""


def test_what_does_not_listen_is_killed_after_the_grace_and_others_are_left_alone(
    tmp_path: Path,
) -> None:
    deaf = (
        'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("ready",'
        " flush=True); time.sleep(60)"
    )
    stubborn, bystander = begin(str(tmp_path), deaf), begin(f"{tmp_path}/other", deaf)
    try:
        identity.end(str(tmp_path), grace=0.3)
        assert stubborn.wait() == -signal.SIGKILL
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_process_is_told_from_a_later_one_and_a_zombie_is_none() -> None:
    assert identity.began(os.getpid()) == identity.began(os.getpid()) != ""
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert identity.began(zombie.pid) == ""
    zombie.wait()


def begin(mark: str, code: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, identity.MARK: mark},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
