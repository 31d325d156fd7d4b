"""Where git names no commit, the run says so, doctor names it and the gate refuses: no trace
without a commit.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.support.registry import get
from flows.adapters.mlflow.store import Store
from flows.project.git import why_no_commit
from flows.promotion import promote
from flows.promotion.evidence import Evidence
from stages.core.sections import Promote
from tests.support.toy_stages import Tiny

ANOTHER_OWNER = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
"""With this git itself takes the repository for somebody else's, as in a bind mount."""


@pytest.mark.parametrize("commit", ["none", ""])
@pytest.mark.parametrize("stage", ["ingest", "evaluate"])
def test_a_stage_without_a_commit_fails_the_lineage_gate(
    store: Store, commit: str, stage: str
) -> None:
    def judged() -> Any:
        evidence = Evidence(get(store, 1), None, 1000)
        return promote.judge(evidence, Promote(resamples=1000, gates={"lineage": True}))["lineage"]

    assert judged().passed is True
    steps = Evidence(get(store, 1), None, 1000).chain
    run = (
        steps.evaluation
        if stage == "evaluate"
        else next(s for s in steps.steps.values() if s.stage == stage)
    )
    store.tag(run.run, {"git.commit": commit})
    found = judged()
    assert (
        found.passed is False
        and f"--force {stage}" in found.reason
        and "no git commit" in found.reason
    )


def test_a_repository_of_another_owner_is_told_at_the_start_and_by_doctor(
    bare_project: Any, server: str
) -> None:
    bare_project.add("a", [], "data/a.txt", "a")
    done = bare_project.rootstock("run", environment=ANOTHER_OWNER)
    assert done.code == 0, done
    first = done.out.splitlines()[0]
    assert (
        first.startswith("WARNING")
        and "detected dubious ownership" in first
        and "safe.directory" in first
    )
    told = bare_project.rootstock("doctor", environment=ANOTHER_OWNER)
    assert told.code == 2 and "fail  git commit" in told.out and "safe.directory" in told.out
    assert "git commit" not in bare_project.rootstock("doctor").out
    assert "WARNING" not in bare_project.rootstock("run", "--force", "a").out


def test_a_repository_without_a_commit_is_told_what_to_do(bare_project: Any) -> None:
    shutil.rmtree(bare_project.root / ".git")
    bare_project.git("init", "-q")
    assert why_no_commit(bare_project.root) == "there is no commit yet: git add -A && git commit"


def test_an_experiment_deleted_in_mlflows_page_is_restored(bare_project: Any, server: str) -> None:
    bare_project.add("a", [], "data/a.txt", "a")
    assert bare_project.rootstock("run").code == 0
    code = (
        "import sys; from mlflow import MlflowClient; client = MlflowClient(sys.argv[1]);"
        "client.delete_experiment(client.get_experiment_by_name('rootstock').experiment_id)"
    )
    store = f"sqlite:///{bare_project.root}/mlruns/mlflow.db"
    subprocess.run(
        [sys.executable, "-c", code, store],
        env=bare_project.environment(),
        check=True,
        capture_output=True,
    )
    done = bare_project.afresh("run")
    assert done.code == 0 and bare_project.states(done.out) == {"a": "cached"}, done
    assert done.err.count("was deleted: restored") == 1
    assert "was deleted" not in bare_project.afresh("run").err


@pytest.fixture
def data(tmp_path: Any) -> Tiny:
    """A project whose data are made, and whose lock is not committed yet."""
    from tests.support.toy_stages import tiny

    project = tiny(tmp_path / "project")
    project.dvc("repro", "-q")
    (project.root / "other.txt").write_text("staged by a person")
    project.git("add", "other.txt")
    return project


HOOKS = {
    "pre-commit": "exit 1",
    "commit-msg": "echo no ticket >&2; exit 1",
    "reference-transaction": "REF",
}


@pytest.mark.parametrize("fault", [*HOOKS, "commit.gpgsign", "tag.gpgsign"])
def test_a_tag_that_git_refuses_leaves_nothing_half_done(data: Tiny, fault: str) -> None:
    if fault in HOOKS:
        hook = data.root / f".git/hooks/{fault}"
        hook.parent.mkdir(exist_ok=True)
        refuses_tags = 'if [ "$1" = prepared ] && grep -q refs/tags/; then exit 1; fi'
        hook.write_text(f"#!/bin/sh\n{refuses_tags if HOOKS[fault] == 'REF' else HOOKS[fault]}\n")
        hook.chmod(0o755)
    else:
        data.git("config", fault, "true")
        data.git("config", "gpg.program", "/bin/false")
    before = _state(data)
    said = data.rootstock("data", "tag", "v1", "-m", "first", code=2)
    assert said.startswith("rootstock: git ") and said.count("\n") == 1
    assert _state(data) == before
    if fault in HOOKS:
        hook.unlink()
    else:
        data.git("config", fault, "false")
    data.rootstock("data", "tag", "v1", "-m", "first")
    assert data.git("show", "--name-only", "--format=", "data/v1^{commit}").split() == ["dvc.lock"]
    assert data.git("diff", "--cached", "--name-only") == "other.txt"


def _state(project: Tiny) -> str:
    asked = (["rev-parse", "HEAD"], ["status", "--porcelain"], ["tag"], ["ls-files", "--stage"])
    return json.dumps([project.git(*words) for words in asked])
