"""What makes no schedule is refused with the reason; pool templates ask for GPUs."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import yaml

from flows.deployments import services
from flows.deployments.deploy import Deployment, kinds, seconds, template
from stages.core.errors import ConfigError
from tests.support.toy_stages import tiny


def test_without_a_server_a_schedule_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    project = tiny(tmp_path / "project")
    assert "start one with rootstock up" in project.rootstock(
        "deploy", "--cron", "0 2 * * *", code=2
    )
    assert "no Prefect server answers" in project.rootstock(
        "deploy", code=2, PREFECT_API_URL="http://127.0.0.1:9/api"
    )


def test_what_makes_no_schedule_is_refused(tmp_path: Path, server: str) -> None:
    project = tiny(tmp_path / "project")
    (project.root / "flows").symlink_to(Path(services.__file__).parents[1])
    for arguments, words in {
        (
            "--cron",
            "every day",
        ): '--cron every day --timezone UTC: Invalid cron string: "every day"\n',
        ("--interval", "often"): "expected a number and a unit",
        ("--cron", "0 2 * * *", "--interval", "6h"): "give one of them",
        ("--kind", "mainframe"): "choose from docker, kubernetes, process, slurm",
        ("pipelin",): "did you mean 'pipeline'",
        ("--cron", "0 2 * * *", "--timezone", "Mars/Olympus"): "Mars/Olympus",
        ("drift", "--images", "nowhere"): "nowhere is no folder",
    }.items():
        assert words in project.rootstock("deploy", *arguments, code=2)


def test_a_schedule_has_its_time_zone_and_its_pool_asks_for_the_gpus_of_dvc_yaml(
    tmp_path: Path, server: str
) -> None:
    project = tiny(tmp_path / "project")
    (project.root / "flows").symlink_to(Path(services.__file__).parents[1])
    graph = yaml.safe_load((project.root / "dvc.yaml").read_text())
    for stage, count in {"pretrain": 2, "evaluate": 1}.items():
        graph["stages"][stage].setdefault("meta", {})["resources"] = {"gpu": count}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    arguments = (
        "--cron",
        "0 6 * * *",
        "--timezone",
        "Europe/Berlin",
        "--pool",
        "night",
        "--kind",
        "slurm",
    )
    printed = project.rootstock("deploy", "drift", *arguments)
    assert printed.strip() == "rootstock-drift/drift: cron 0 6 * * * (Europe/Berlin), pool night"
    found = httpx.get(f"{server}/deployments/name/rootstock-drift/drift", timeout=30).json()
    (schedule,) = found["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (
        "0 6 * * *",
        "Europe/Berlin",
    )
    assert (found["work_pool_name"], schedule["active"]) == ("night", True)
    pool = httpx.get(f"{server}/work_pools/night", timeout=30).json()
    assert " --gpus=2 " in pool["base_job_template"]["job_configuration"]["command"]


def test_every_pool_template_asks_for_the_gpus_of_the_greediest_stage() -> None:
    assert kinds() == ["docker", "kubernetes", "process", "slurm"]
    assert "--gpus=3 " in template("slurm", 3)["template"]["job_configuration"]["command"]
    pod = template("kubernetes", 3)["template"]["job_configuration"]["job_manifest"]["spec"][
        "template"
    ]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 3}
    assert (
        template("docker", 3)["template"]["job_configuration"]["container_create_kwargs"][
            "device_requests"
        ][0]["Count"]
        == 3
    )
    for kind in kinds():
        properties = template(kind)["template"]["variables"]["properties"]
        slots = json.dumps(template(kind)["template"]["job_configuration"]).split("{{ ")[1:]
        assert {slot.split(" }}")[0] for slot in slots} <= set(properties)


def test_intervals_have_a_number_and_a_unit() -> None:
    assert [seconds(text) for text in ("90s", "15m", "6h", "1d")] == [90, 900, 21_600, 86_400]
    for text in ("0s", "6", "h", "-1h"):
        with pytest.raises(ConfigError):
            seconds(text)
    with pytest.raises(ConfigError):
        Deployment(cron="* * * * *", interval="1h")
