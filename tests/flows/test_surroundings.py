"""Runs under what shells, containers and clusters hand over: proxies, unknown users, other
encodings, unread output.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.process import surroundings
from stages.core.launcher import forget_launcher

BODY = """\
    import getpass, os
    assert getpass.getuser()
    left = sorted(name for name in os.environ if name in {"WORLD_SIZE", "RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"})
    assert not left, left
    print("café → ✓", Path("accent.txt").read_text())"""  # noqa: E501
LATIN = {
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "",
}
NEW_USER = 12345


@pytest.fixture
def one(bare_project: Any) -> Any:
    """One stage that looks at its environment and prints what no narrow encoding has."""
    (bare_project.root / "accent.txt").write_text("naïve", encoding="utf-8")
    bare_project.add("a", [], "data/a.txt", "a", BODY)
    bare_project.git("add", "-A")
    bare_project.git("commit", "-q", "-m", "one stage")
    return bare_project


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Address of a proxy that answers nothing, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that any user may enter; those of pytest are its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def ran(project: Any, *arguments: str, **extra: str) -> subprocess.CompletedProcess[bytes]:
    """``rootstock run`` in a process of its own, with a Prefect server of its own."""
    environment = {**project.environment(extra)}
    environment.pop("PREFECT_API_URL", None)
    command = [*arguments, sys.executable, "-m", "flows.cli", "run"]
    return subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, timeout=110, check=False
    )


def made(project: Any) -> bool:
    return bool(
        (project.root / "data/a.txt").is_file()
        and "a" in yaml.safe_load(project.text("dvc.lock"))["stages"]
    )


def test_calls_to_loopback_never_go_through_a_proxy(
    one: Any, proxy: tuple[str, list[bytes]]
) -> None:
    address, asked = proxy
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    socks = {
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "all_proxy": "socks5h://127.0.0.1:9",
    }  # httpx fails on its mere name
    done = ran(one, **dict.fromkeys(names, address), **socks, NO_PROXY="example.org,[::1]")
    assert done.returncode == 0 and made(one), done
    assert not asked


@pytest.mark.parametrize("given", ["", "corp.example", "*", "::1/128, corp.example", "localhost"])
def test_both_spellings_of_no_proxy_are_completed_and_keep_what_they_said(given: str) -> None:
    import httpx

    environment = {
        "NO_PROXY": given,
        "no_proxy": "other.example",
        "http_proxy": "http://proxy:3128",
    }
    surroundings.bypass_proxies({**environment})
    surroundings.bypass_proxies(environment)
    entries = environment["no_proxy"].split(",")
    assert environment["NO_PROXY"] == environment["no_proxy"]
    assert entries == ["*"] or {"127.0.0.1", "localhost", "::1", "other.example"} <= set(entries)
    assert len(entries) == len(set(entries)) and ("corp.example" in given) == (
        "corp.example" in entries
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        httpx.Client().close()


def test_an_address_that_is_this_machine_by_another_name_bypasses_the_proxy() -> None:
    environment = {
        "PREFECT_API_URL": "http://127.0.1.1:4200/api",
        "MLFLOW_TRACKING_URI": "http://0.0.0.0:5000",
    }
    surroundings.bypass_proxies(environment)
    assert {"127.0.1.1", "0.0.0.0"} <= set(environment["no_proxy"].split(","))


@pytest.mark.parametrize(
    "narrow", [pytest.param({"PYTHONIOENCODING": "ascii"}, marks=pytest.mark.slow), LATIN]
)
def test_a_terminal_that_is_not_utf8_stops_no_run(one: Any, narrow: dict[str, str]) -> None:
    before = one.text("params.yaml")
    done = ran(one, **narrow)
    assert done.returncode == 0 and made(one), done
    assert b"caf" in done.stdout and b"?" in done.stdout
    assert one.text("params.yaml") == before


def test_a_changed_parameter_keeps_the_rest_of_the_file_under_a_narrow_locale(one: Any) -> None:
    path = one.root / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "# naïve → ✓\n", encoding="utf-8")
    environment = one.environment(LATIN)
    command = [sys.executable, "-m", "flows.cli", "run", "--set", "seed=1", "--to", "a"]
    done = subprocess.run(
        command, cwd=one.root, env=environment, capture_output=True, timeout=110, check=False
    )
    assert done.returncode == 0, done
    assert path.read_text(encoding="utf-8").endswith("# naïve → ✓\n")


def test_variables_that_a_cluster_left_behind_do_not_reach_a_stage(one: Any) -> None:
    left = {
        "WORLD_SIZE": "2",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "10.0.0.1",
        "TORCHELASTIC_RUN_ID": "none",
    }
    done = ran(one, **left)
    assert done.returncode == 0 and made(one), done


def test_only_launchers_variables_are_forgotten() -> None:
    environment = {
        "WORLD_SIZE": "2",
        "PET_NNODES": "2",
        "SLURM_PROCID": "1",
        "RANKING": "1",
        "PATH": "/bin",
    }
    forget_launcher(environment)
    assert set(environment) == {"SLURM_PROCID", "RANKING", "PATH"}


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user"
)
@pytest.mark.parametrize("home", [pytest.param("/", marks=pytest.mark.slow), ""])
def test_a_user_without_an_account_runs(one: Any, home: str, reachable: Path) -> None:
    shutil.move(one.root, reachable / "project")
    one = type(one)(reachable / "project")
    for place in (one.root, *one.root.rglob("*")):
        os.lchown(place, NEW_USER, NEW_USER)
    # the interpreter of the tests may be in a home that only root may enter
    reads = "-all,+dac_read_search"
    user = ["setpriv", f"--reuid={NEW_USER}", f"--regid={NEW_USER}", "--clear-groups"]
    user += [f"--inh-caps={reads}", f"--ambient-caps={reads}", f"--bounding-set={reads}"]
    done = ran(one, *user, HOME=home, USER="", LOGNAME="")
    assert done.returncode == 0 and made(one), done
    assert (one.root / "data/a.txt").stat().st_uid == NEW_USER
    command = [*user, sys.executable, "-m", "flows.cli", "doctor"]
    environment = one.environment({"HOME": home, "USER": "", "LOGNAME": ""})
    told = subprocess.run(
        command, cwd=one.root, env=environment, capture_output=True, text=True, check=False
    )
    assert f"uid {NEW_USER} has no entry" in told.stdout, told


def test_a_run_whose_output_is_closed_or_no_longer_read_goes_on(one: Any) -> None:
    command = f"'{sys.executable}' -m flows.cli"
    environment = one.environment()
    closed = subprocess.run(
        ["bash", "-c", f"{command} run >&- 2>&-"],
        cwd=one.root,
        env=environment,
        check=False,
        timeout=110,
    )
    assert closed.returncode == 0 and made(one)
    shutil.rmtree(one.root / "data")
    (one.root / "dvc.lock").unlink()
    unread = f"set -o pipefail; {command} run --force a 2>&1 | head -n 1"
    done = subprocess.run(
        ["bash", "-c", unread],
        cwd=one.root,
        env=environment,
        capture_output=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0 and made(one), done


@pytest.mark.parametrize(
    "arguments", ["methods", "plan", pytest.param("doctor", marks=pytest.mark.slow), "--help"]
)
def test_what_only_reads_ends_well_when_its_output_is_closed_or_read_enough(
    one: Any, arguments: str
) -> None:
    for where in (">&-", ">&- 2>&-", "| true"):
        command = f"set -o pipefail; '{sys.executable}' -m flows.cli {arguments} {where}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=one.root,
            env=one.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (
            done.returncode == 0
            and "Traceback" not in done.stderr
            and "Exception" not in done.stderr
        ), (where, done)


def test_answers_written_for_another_program_end_well_when_it_has_read_enough(
    tmp_path: Path,
) -> None:
    """Far more than a pipe holds, so that the reader is gone before the last line is written."""
    code = (
        "from flows.process import terminal; import sys; terminal.prepare(['predict']);"
        " print('x' * 10**6); print('y' * 10**6)"
    )
    main = f"import sys\ntry:\n    exec({code!r})\nexcept BrokenPipeError:\n    sys.exit(0)"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -c \"$CODE\" | head -c 5"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "CODE": main},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "xxxxx", "")
