"""Registration, the move of the names and the way back, on a real store."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.registry import answers, crown, get
from flows.adapters.mlflow.store import Store
from flows.lineage import forget
from flows.lineage.image_audit import Occurrence
from flows.promotion import promote as promotion
from flows.promotion.evidence import Evidence
from flows.promotion.promote import PromotionOptions
from flows.registry import aliases, versions
from flows.registry.registration import register
from flows.registry.versions import CHAMPION, CLASSIFIER, EVALUATION, PREVIOUS
from stages.core.errors import ConfigError, Refused
from stages.core.sections import Promote

SETTINGS = Promote(resamples=1000, gates={"validation": True, "lineage": True, "champion": 0.01})


def test_a_digest_is_registered_once(store: Store) -> None:
    first = get(store, 1)
    again = register(store, CLASSIFIER, Path("model"), first.digest, first.stage_run, {})
    assert again.number == "1"
    assert len(store.client.search_model_versions(f"name = '{CLASSIFIER}'")) == 3


def test_the_move_keeps_the_old_champion_at_hand_and_says_why(store: Store) -> None:
    crown(store, 1)
    crown(store, 2)
    assert versions.aliases(store) == {CHAMPION: "2", PREVIOUS: "1"}
    tags = get(store, 2).tags
    assert tags["rootstock.replaced"] == "1" and tags["rootstock.promoted_why"] == "test"
    assert tags["rootstock.promoted_at"] and tags["rootstock.promoted_by"]


def test_rollback_swaps_and_names_what_it_serves(store: Store) -> None:
    crown(store, 1)
    crown(store, 2)
    now, before = aliases.rollback(store, "it mistakes cats")
    assert (now.number, before.number) == ("1", "2")
    assert versions.aliases(store) == {CHAMPION: "1", PREVIOUS: "2"}
    assert get(store, 2).tags["rootstock.rolled_back_why"] == "it mistakes cats"
    with pytest.raises(
        ConfigError, match=r"was itself rolled back \(it mistakes cats\): name a version with --to"
    ):
        aliases.rollback(store, "asked twice")
    assert not now.tags.get(aliases.UNSEEN)
    now, _ = aliases.rollback(store, "on purpose", to="3")
    assert now.tags[aliases.UNSEEN], "it never was champion, which the command says"
    assert versions.aliases(store) == {CHAMPION: "3", PREVIOUS: "1"}
    with pytest.raises(ConfigError, match="champion already"):
        aliases.rollback(store, "again", to="3")


def test_rollback_with_nothing_before_says_so(store: Store) -> None:
    with pytest.raises(ConfigError, match="nothing to roll back to"):
        aliases.rollback(store, "why not")


def test_two_promotions_at_once_one_wins_and_the_other_is_told(store: Store) -> None:
    crown(store, 1)
    seen = versions.by_alias(store, CHAMPION)
    aliases.promote_alias(get(store, 2), seen, {})
    with pytest.raises(Refused, match="version 2 became champion while"):
        aliases.promote_alias(get(store, 3), seen, {})
    assert versions.aliases(store)[CHAMPION] == "2"


KILLED_AT_EACH_WRITE = """
import os, signal
from mlflow import MlflowClient
from flows.registry import aliases, versions
from flows.adapters.mlflow.store import Store

def attempt(left):
    def dying(write):
        def counted(self, *args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(self, *args, **kwargs)
        return counted
    store = Store.open()
    champion = versions.by_alias(store, "champion")
    candidate = versions.get(store, versions.CLASSIFIER, "2")
    if candidate.number == champion.number:  # as promote() finds it
        aliases.no_longer_candidate(candidate)
        os._exit(print(sorted(versions.aliases(store).items()), flush=True) or 0)
    for name in ("set_model_version_tag", "set_registered_model_alias", "delete_registered_model_alias"):
        setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    aliases.promote_alias(candidate, champion, {"rootstock.promoted_why": "test"})
    print(sorted(versions.aliases(store).items()), flush=True)
    os._exit(0)

for writes in range(20):
    child = os.fork() or attempt(writes)
    if os.waitpid(child, 0)[1] == 0:
        break
    look = os.fork()
    if not look:
        print(sorted(versions.aliases(Store.open()).items()), flush=True)
        os._exit(0)
    os.waitpid(look, 0)
"""  # noqa: E501


def test_a_crash_at_any_write_leaves_exactly_one_champion(store: Store) -> None:
    """A move killed before its first write, then before its second, … each time there is one
    champion; then it completes.
    """
    crown(store, 1)
    store.client.set_registered_model_alias(CLASSIFIER, "candidate", "2")
    environment = {**os.environ, "PYTHONPATH": str(Path(versions.__file__).parents[2])}
    command = [sys.executable, "-c", KILLED_AT_EACH_WRITE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seen = [dict(ast.literal_eval(line)) for line in done.stdout.splitlines()]
    assert len(seen) >= 6, done.stderr
    assert all(
        names[CHAMPION] in {"1", "2"} and names.get(PREVIOUS) in {None, "1"} for names in seen
    ), seen
    assert seen[0][CHAMPION] == "1" and seen[-1] == {CHAMPION: "2", PREVIOUS: "1"}


@pytest.mark.parametrize(("number", "word"), [(2, "pass"), (3, "FAIL")])
def test_what_the_gates_said_stands_beside_the_version_in_its_run_and_in_the_report(
    store: Store, number: int, word: str
) -> None:
    candidate = get(store, number)
    found = promotion.judge(Evidence(candidate, get(store, 1), 1000), SETTINGS)
    promotion._keep_table(candidate, found)
    shown = (get(store, number).folder / "documents/gates.md").read_text()
    assert "| lineage | pass |" in shown and f"| champion | {word} |" in shown
    page = store.client.get_model_version(CLASSIFIER, str(number)).description
    assert page.startswith(f"# {'equal' if number == 2 else 'worse'}") and page.endswith(shown)
    assert shown in Path("reports/promote/gates.md").read_text()
    kept = json.loads(
        Path(
            store.client.download_artifacts(candidate.stage_run, f"gates/version-{number}.json")
        ).read_text()
    )
    assert set(kept) == set(SETTINGS.gates) and kept["champion"]["passed"] is (word == "pass")
    assert json.loads(get(store, number).tags[promotion.GATE_TABLE])["champion"]["verdict"] == word
    assert get(store, number).artifact.joinpath("weights.safetensors").is_file(), (
        "the model itself stays"
    )


def test_of_many_forgotten_images_the_version_names_as_many_as_fit_each_whole(store: Store) -> None:
    ids = [f"{number:064x}" for number in range(100)]
    seen = Occurrence(
        "m", (), "train", True, "", "a.png", ("finetune run",), (f"{CLASSIFIER}@1",), {}
    )
    for some in (ids[:60], ids[60:]):
        forget._mark(store, {one: [seen] for one in some})
    assert get(store, 1).tags[forget.FORGOTTEN].split() == ids[:76]


def workspace(store: Store, number: int, evaluated: float | None = None) -> dict[str, str]:
    """Lay a version's model out as finetune's output, with ``dvc.lock``, and say which runs made
    what, ``evaluated`` anew.
    """
    made = get(store, number)
    shutil.copytree(made.artifact, "models/finetuned")
    locked = {"cmd": "true", "outs": [{"path": "models/finetuned", "md5": made.digest}]}
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"finetune": locked}}))
    run = made.tags[EVALUATION]
    if evaluated is not None:
        run = store.start("evaluate", None, {})
        answers(evaluated).to_parquet("predictions.parquet")
        store.client.log_artifact(run, "predictions.parquet", "reports/evaluate")
    return {"models/finetuned": made.stage_run, "reports/evaluate": run}


def test_what_was_rolled_back_comes_back_only_when_somebody_says_why(store: Store) -> None:
    """A nightly run on unchanged data finds the same model again, and its gates say what they said
    before.
    """
    crown(store, 1)
    crown(store, 2)
    aliases.rollback(store, "it mistakes cats")
    made_by = workspace(store, 2)
    for dry_run in (True, False):
        nightly = promotion.promote(
            store, SETTINGS, print, made_by, PromotionOptions(dry_run=dry_run)
        )
        assert (
            not nightly.moved
            and not nightly.refused
            and "was rolled back (it mistakes cats)" in nightly.verdict
        )
        assert versions.aliases(store) == {CHAMPION: "1", PREVIOUS: "2"}
    meant = promotion.promote(
        store, SETTINGS, print, made_by, PromotionOptions(why="it was the camera")
    )
    assert meant.moved and versions.aliases(store)[CHAMPION] == "2"
    crown(store, 3)
    assert promotion.promote(store, SETTINGS, print, made_by).moved, "the rollback is over"


def test_a_new_task_is_not_compared_but_takes_a_reason_and_every_other_gate(store: Store) -> None:
    crown(store, 1)
    made_by = workspace(store, 3)
    assert promotion.promote(store, SETTINGS, print, made_by).verdicts["champion"].passed is False
    with pytest.raises(ConfigError, match="takes a reason: --why TEXT"):
        promotion.promote(store, SETTINGS, print, made_by, PromotionOptions(new_task=True))
    strict = Promote(resamples=1000, gates={"accuracy": 0.99, "champion": 0.01})
    assert promotion.promote(
        store, strict, print, made_by, PromotionOptions(new_task=True, why="flowers")
    ).refused
    moved = promotion.promote(
        store, SETTINGS, print, made_by, PromotionOptions(new_task=True, why="flowers")
    )
    assert moved.moved and moved.verdicts["champion"].value == "new task"
    assert versions.aliases(store) == {CHAMPION: "3", PREVIOUS: "1"}
    assert get(store, 3).tags["rootstock.promoted_why"] == "flowers"


def test_a_dry_run_looks_at_what_a_real_one_would_and_writes_nothing(store: Store) -> None:
    """The registered weights were evaluated anew: the gates ask the new answers, and an approval
    holds for this question only.
    """
    made_by, before = workspace(store, 2, evaluated=0.3), get(store, 2).tags
    gates = Promote(resamples=1000, gates={"accuracy": 0.5, "approval": True})
    dry = promotion.promote(
        store, gates, print, made_by, PromotionOptions(dry_run=True, approved_by="Ada")
    )
    assert {name: found.value for name, found in dry.verdicts.items()} == {
        "accuracy": "0.3000",
        "approval": "Ada",
    }
    assert get(store, 2).tags == before
    real = promotion.promote(store, gates, print, made_by)
    assert {name: found.value for name, found in real.verdicts.items()} == {
        "accuracy": "0.3000",
        "approval": "nobody yet",
    }
