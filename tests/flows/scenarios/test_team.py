"""Several people, one PostgreSQL server, one S3 endpoint: both run on the loopback interface for
the length of this module.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.adapters.prefect.server import free_port
from flows.deployments import services
from tests.support.toy_stages import Tiny, tiny

PASSWORD = "correct-horse-battery"
SECRET = "s3-secret-that-no-log-may-hold"
POSTGRES = all(shutil.which(tool) for tool in ("initdb", "pg_ctl"))
USER = "postgres"


def unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid():
        return None
    return USER


def known_user() -> bool:
    try:
        return os.geteuid() != 0 or bool(pwd.getpwnam(USER))
    except KeyError:
        return False


pytestmark = [
    pytest.mark.skipif(not POSTGRES, reason="PostgreSQL's initdb and pg_ctl are not on the PATH"),
    pytest.mark.skipif(
        not known_user(), reason=f"PostgreSQL refuses root and there is no user {USER}"
    ),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """``user:password@host:port`` of a server with two databases."""
    folder = Path(f"/tmp/rootstock-pg-{os.getpid()}")
    folder.mkdir(mode=0o700)
    (folder / "password").write_text(PASSWORD)
    if user := unprivileged():
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    port = free_port()

    def tool(*command: str) -> None:
        subprocess.run(
            command, user=unprivileged(), cwd=folder, check=True, capture_output=True, timeout=120
        )

    tool("initdb", "-D", "db", "-U", "team", "-A", "scram-sha-256", "--pwfile", "password", "-N")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    subprocess.run(
        ["pg_ctl", "-D", "db", "-w", "-l", "log", "-o", options, "start"],
        user=unprivileged(),
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        import pg8000.native

        with pg8000.native.Connection(
            "team", host="127.0.0.1", port=port, password=PASSWORD, database="postgres"
        ) as connection:
            connection.run("create database mlflow")
            connection.run("create database prefect")
        yield f"team:{PASSWORD}@127.0.0.1:{port}"
    finally:
        tool("pg_ctl", "-D", "db", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Address of an S3 endpoint with the bucket ``team``."""
    import boto3

    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            address = f"http://127.0.0.1:{port}"
            client = boto3.client(
                "s3",
                endpoint_url=address,
                aws_access_key_id="team",
                aws_secret_access_key=SECRET,
                region_name="us-east-1",
            )
            client.create_bucket(Bucket="team")
            yield address
        finally:
            process.kill()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, postgres: str, bucket: str) -> Iterator[Tiny]:
    """The first member's project, its servers up on PostgreSQL and S3, pushed to a shared git
    repository.
    """
    folder = tmp_path_factory.mktemp("team")
    project = tiny(folder / "anna")
    project.dvc("remote", "add", "-d", "team", "s3://team/dvc")
    project.dvc("remote", "modify", "team", "endpointurl", bucket)
    project.commit("A remote")
    subprocess.run(
        ["git", "clone", "-q", "--bare", str(project.root), str(folder / "origin.git")], check=True
    )
    project.git("remote", "add", "origin", str(folder / "origin.git"))
    patch = pytest.MonkeyPatch()
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    project.separate = True
    settings = {
        "AWS_ACCESS_KEY_ID": "team",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": bucket,
        "ROOTSTOCK_TEST_PG": postgres,
    }
    for name, value in settings.items():
        patch.setenv(name, value)
    project.printed = project.rootstock("up", "--no-worker", **databases())
    try:
        yield project
    finally:
        project.rootstock("down", **databases())
        patch.undo()


def databases() -> dict[str, str]:
    server = os.environ["ROOTSTOCK_TEST_PG"]
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{server}/prefect",
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+pg8000://{server}/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://team/mlflow",
    }


def addresses(team: Tiny) -> dict[str, str]:
    """What a colleague sets: two addresses, no password."""
    import json

    found = {
        name: json.loads((team.root / f".rootstock/servers/{name}.json").read_text())["address"]
        for name in services.PORTS
    }
    return {"PREFECT_API_URL": f"{found['prefect']}/api", "MLFLOW_TRACKING_URI": found["mlflow"]}


def clone(team: Tiny, name: str) -> Tiny:
    folder = team.root.parent / name
    subprocess.run(
        ["git", "clone", "-q", str(team.root.parent / "origin.git"), str(folder)], check=True
    )
    other = Tiny(folder)
    for key, value in (
        ("user.name", name),
        ("user.email", f"{name}@example.invalid"),
        ("commit.gpgsign", "false"),
    ):
        other.git("config", key, value)
    return other


def test_a_colleagues_fresh_clone_pulls_and_computes_nothing(team: Tiny) -> None:
    team.rootstock("run", **addresses(team))
    assert team.executions() == 4
    team.commit("A run")
    team.dvc("push", "-q")
    team.git("push", "-q", "origin", "main")
    colleague = clone(team, "ben")
    colleague.dvc("pull", "-q")
    printed = colleague.rootstock("run", **addresses(team))
    assert colleague.executions() == 0
    assert "imported" not in printed  # the runs that made the outputs are in the shared store
    assert not (colleague.root / "mlruns/mlflow.db").exists()


@pytest.mark.slow
def test_two_people_push_at_once_and_a_third_has_both(team: Tiny) -> None:
    people = [clone(team, "carla"), clone(team, "dora")]
    for number, person in enumerate(people):
        person.dvc("pull", "-q")
        (person.root / "source.txt").write_text(f"0.{number + 1} 0.{number + 1}")
        person.git("checkout", "-q", "-b", f"branch{number}")
        person.dvc("repro", "-q")
        person.commit(f"Data of {number}")
        person.git("push", "-q", "origin", f"branch{number}")
    push = [sys.executable, "-m", "dvc", "push", "-q"]
    pushes = [
        subprocess.Popen(push, cwd=person.root, env=person.environment(), stderr=subprocess.PIPE)
        for person in people
    ]
    for pushed in pushes:
        _, words = pushed.communicate(timeout=240)
        assert pushed.returncode == 0, words
    third = clone(team, "emil")
    for number in range(2):
        third.git("checkout", "-q", f"branch{number}")
        third.dvc("pull", "-q")
        third.dvc("repro", "-q")
    assert third.executions() == 0


def test_no_secret_is_in_a_log_a_file_or_a_command_line(team: Tiny) -> None:
    secrets = [PASSWORD.encode(), SECRET.encode()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            assert not any(secret in line for secret in secrets), line[:60]
    searched = 0
    for project in team.root.parent.iterdir():
        for file in project.rglob("*"):
            if file.is_file() and not file.is_symlink():
                content = file.read_bytes()
                searched += 1
                assert not any(secret in content for secret in secrets), file
    logged = httpx.post(
        f"{addresses(team)['PREFECT_API_URL']}/logs/filter", json={"limit": 200}, timeout=30
    ).text
    assert "ingest" in logged
    assert not any(secret.decode() in logged for secret in secrets)
    assert searched > 100
    assert (team.root / ".rootstock/servers/mlflow.log").stat().st_size > 0
