"""Registration, gates, the move of the names and the way back, on a real store."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from inside import Inside
from registry_store import answers, classifier, version

from flows import announcements, lineage, promotion, versions
from flows.evidence import Evidence, Verdict
from flows.registration import register
from flows.tracking import Store
from flows.versions import CHAMPION, CLASSIFIER, PREVIOUS, Version
from stages.core.errors import ConfigError, Refused
from stages.core.params import Promote

SETTINGS = Promote(resamples=1000, gates={"validation": True, "lineage": True, "accuracy": 0.5, "champion": 0.01})


@pytest.fixture(scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions: good, as good, and worse."""
    root = tmp_path_factory.mktemp("registry")
    model = classifier(root / "model")
    with Inside(root):
        store = Store.open()
        for mark, share in {"good": 0.9, "equal": 0.9, "worse": 0.8}.items():
            version(store, model, mark, answers(share, seed=0))
    return root


@pytest.fixture
def store(_store: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of the store: its addresses follow."""
    shutil.copytree(_store, tmp_path / "copy")
    with Inside(tmp_path / "copy"):
        yield Store.open()


def get(store: Store, number: int) -> Version:
    return versions.get(store, CLASSIFIER, str(number))


def crown(store: Store, number: int) -> None:
    promotion.move(get(store, number), versions.by_alias(store, CHAMPION), {"rootstock.promoted_why": "test"})


def verdicts(store: Store, candidate: int, champion: int | None, settings: Promote = SETTINGS) -> dict[str, bool | None]:
    evidence = Evidence(get(store, candidate), get(store, champion) if champion else None, settings.resamples)
    return {name: found.passed for name, found in promotion.judge(evidence, settings).items()}


def test_a_digest_is_registered_once(store: Store) -> None:
    first = get(store, 1)
    again = register(store, CLASSIFIER, Path("model"), first.digest, first.stage_run, {})
    assert again.number == "1"
    assert len(store.client.search_model_versions(f"name = '{CLASSIFIER}'")) == 3


def test_the_first_version_needs_no_champion(store: Store) -> None:
    assert verdicts(store, 1, None) == {"validation": True, "lineage": True, "accuracy": True, "champion": None}


def test_an_equal_one_passes_and_a_worse_one_does_not(store: Store) -> None:
    assert verdicts(store, 2, 1)["champion"] is True
    assert verdicts(store, 3, 1)["champion"] is False
    lenient = Promote(resamples=1000, gates={"champion": 0.2})
    assert verdicts(store, 3, 1, lenient) == {"champion": True}


def test_a_floor_is_a_floor(store: Store) -> None:
    assert verdicts(store, 3, None, Promote(resamples=1000, gates={"accuracy": 0.85}))["accuracy"] is False
    assert verdicts(store, 1, None, Promote(resamples=1000, gates={"accuracy": 0.85}))["accuracy"] is True


def test_other_test_images_are_no_comparison(store: Store) -> None:
    odd = version(store, Path("model"), "odd", answers(0.95, images=300))
    assert verdicts(store, int(odd.number), 1)["champion"] is False


def test_a_gate_that_is_off_is_not_asked(store: Store) -> None:
    assert verdicts(store, 3, 1, Promote(resamples=1000, gates={"champion": False, "lineage": True})) == {"lineage": True}


def test_a_hole_in_the_chain_is_refused(store: Store) -> None:
    run = store.start("finetune", None, {})
    store.end(run, "FINISHED")
    lone = register(store, CLASSIFIER, Path("model"), "f" * 32 + ".dir", run, {})
    found = promotion.judge(Evidence(lone, None, 1000), Promote(resamples=1000, gates={"lineage": True}))["lineage"]
    assert found.passed is False and "source images" in found.reason


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
    now, before = promotion.rollback(store, "it mistakes cats")
    assert (now.number, before.number) == ("1", "2")
    assert versions.aliases(store) == {CHAMPION: "1", PREVIOUS: "2"}
    assert get(store, 2).tags["rootstock.rolled_back_why"] == "it mistakes cats"
    now, _ = promotion.rollback(store, "on purpose", to="3")
    assert versions.aliases(store) == {CHAMPION: "3", PREVIOUS: "1"}
    with pytest.raises(ConfigError, match="champion already"):
        promotion.rollback(store, "again", to="3")


def test_rollback_with_nothing_before_says_so(store: Store) -> None:
    with pytest.raises(ConfigError, match="nothing to roll back to"):
        promotion.rollback(store, "why not")


def test_two_promotions_at_once_one_wins_and_the_other_is_told(store: Store) -> None:
    crown(store, 1)
    seen = versions.by_alias(store, CHAMPION)
    promotion.move(get(store, 2), seen, {})
    with pytest.raises(Refused, match="version 2 became champion while"):
        promotion.move(get(store, 3), seen, {})
    assert versions.aliases(store)[CHAMPION] == "2"


KILLED_AT_EACH_WRITE = """
import os, signal
from mlflow import MlflowClient
from flows import promotion, versions
from flows.tracking import Store

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
        promotion._no_longer_candidate(candidate)
        os._exit(print(sorted(versions.aliases(store).items()), flush=True) or 0)
    for name in ("set_model_version_tag", "set_registered_model_alias", "delete_registered_model_alias"):
        setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    promotion.move(candidate, champion, {"rootstock.promoted_why": "test"})
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
"""


def test_a_crash_at_any_write_leaves_exactly_one_champion(store: Store) -> None:
    """A move killed before its first write, then before its second, … each time there is one champion; then it completes."""
    crown(store, 1)
    store.client.set_registered_model_alias(CLASSIFIER, "candidate", "2")
    environment = {**os.environ, "PYTHONPATH": str(Path(versions.__file__).parents[1])}
    command = [sys.executable, "-c", KILLED_AT_EACH_WRITE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seen = [dict(ast.literal_eval(line)) for line in done.stdout.splitlines()]
    assert len(seen) >= 6, done.stderr
    assert all(names[CHAMPION] in {"1", "2"} and names.get(PREVIOUS) in {None, "1"} for names in seen), seen
    assert seen[0][CHAMPION] == "1" and seen[-1] == {CHAMPION: "2", PREVIOUS: "1"}


def test_lineage_reaches_the_sources_and_prints_what_made_it(store: Store) -> None:
    crown(store, 1)
    found = lineage.trace(versions.resolve(store, f"{CLASSIFIER}@champion"))
    assert found.complete and found.source
    text = lineage.tree(found)
    for stage in ("finetune", "distill", "pretrain", "augment", "curate", "validate", "ingest", "evaluated by"):
        assert stage in text
    for step in found.steps.values():
        assert step.run in text and all(hashed in text for hashed in step.outputs.values())
    assert "c" * 10 in text and "finetune.steps=3" in text and "source images" in text
    assert text.count("(champion)") == 1


def test_lineage_of_what_does_not_exist_names_what_does(store: Store) -> None:
    for reference, line in {
        f"{CLASSIFIER}@nobody": "has no version or alias 'nobody'",
        "classifier@champion": f"there is {CLASSIFIER}",
        "@": "names no model",
    }.items():
        with pytest.raises(ConfigError, match=line):
            versions.resolve(store, reference)


def test_no_artifact_is_a_pickle(store: Store) -> None:
    files = [path for path in Path("mlruns/artifacts").rglob("*") if path.is_file()]
    assert files and not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".joblib"}]
    assert not [path for path in files if path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")]


def judged(store: Store, gate: str, threshold: float | bool, candidate: int = 1, champion: int | None = 1) -> Verdict:
    evidence = Evidence(get(store, candidate), get(store, champion) if champion else None, 1000)
    return promotion.judge(evidence, Promote(resamples=1000, gates={gate: threshold}))[gate]


@pytest.mark.parametrize(
    ("gate", "threshold", "candidate", "champion", "passed", "value"),
    [
        ("mcnemar", 0.05, 2, 1, True, "p 1.0000"),
        ("mcnemar", 0.05, 3, 1, False, "p 0.0000"),
        ("mcnemar", 0.05, 1, None, None, "first version"),
        ("worst_class", 0.5, 1, None, True, None),
        ("worst_class", 0.95, 1, None, False, None),
        ("worst_group", 0.5, 1, None, True, None),
        ("calibration", 0.2, 1, None, True, None),
        ("calibration", 0.0, 1, None, False, None),
        ("corruption", 0.1, 1, None, False, "unknown"),
        ("retention", 1.0, 2, 1, True, "1.0000"),
        ("retention", 0.95, 3, 1, False, "0.8889"),
        ("size", 100.0, 1, None, True, None),
        ("size", 0.01, 1, None, False, None),
        ("latency", 60_000.0, 1, None, True, None),
        ("latency", 0.0, 1, None, False, None),
        ("approval", True, 1, None, False, "nobody yet"),
        ("rank", 0.5, 1, None, False, "unknown"),
        ("compatibility", 0.9, 2, 1, False, "no comparison"),
    ],
)
def test_a_gate_says_what_it_found(
    store: Store, gate: str, threshold: float, candidate: int, champion: int | None, passed: bool | None, value: str | None
) -> None:
    found = judged(store, gate, threshold, candidate, champion)
    assert found.passed is passed, found
    assert value is None or found.value == value
    assert found.passed or found.reason, "a no and a not-applicable say why"


def test_calibration_and_corruption_match_a_count_by_hand(store: Store) -> None:
    table = answers(0.9)
    table["predicted_noise_1"] = table["label"]
    table["predicted_noise_2"] = ["cat"] * len(table)
    odd = int(version(store, Path("model"), "corrupted", table).number)
    assert judged(store, "corruption", 0.7, odd, None).value == "0.7500"
    confidence = [max(row) for row in table["probabilities"]]
    right = table["label"] == table["predicted"]
    sure, unsure = [c > 0.75 for c in confidence], [c <= 0.75 for c in confidence]
    by_hand = sum(sure) / 400 * abs(0.9 - right[sure].mean()) + sum(unsure) / 400 * abs(0.6 - right[unsure].mean())
    assert judged(store, "calibration", 1.0, odd, None).value == f"{by_hand:.4f}"


def test_a_rotated_embedding_is_not_compatible_with_the_old_index() -> None:
    import numpy as np

    from flows.gates.compatibility import nearest_accuracy

    drawn = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"] * 30, dtype=object)
    vectors = (np.eye(8)[[ord(name) - 97 for name in labels]] + 0.1 * drawn.normal(size=(90, 8))).astype(np.float32)
    rotation = np.linalg.qr(drawn.normal(size=(8, 8)))[0].astype(np.float32)
    assert nearest_accuracy(vectors, vectors, labels) == 1.0
    assert nearest_accuracy(vectors @ rotation, vectors, labels) < 0.7


def test_an_approval_holds_for_the_version_it_was_given_to(store: Store) -> None:
    get(store, 1).tag({promotion.APPROVED: "Ada"})
    assert judged(store, "approval", True, 1, None).passed is True
    assert judged(store, "approval", True, 2, None).passed is False


def test_answers_are_compared_image_by_image_in_any_order() -> None:
    from flows.evidence import Answers

    table = answers(0.7)
    shuffled = Answers(table.sample(frac=1, random_state=1).reset_index(drop=True))
    assert Answers(table).same_images(shuffled)
    assert (shuffled.in_order_of(Answers(table)).correct == Answers(table).correct).all()


def test_a_flipped_bit_in_the_registered_weights_fails_the_lineage_gate(store: Store) -> None:
    assert judged(store, "lineage", True).passed is True
    weights = get(store, 1).artifact / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = judged(store, "lineage", True)
    assert found.passed is False and found.reason.startswith(f"{CLASSIFIER} version 1 differs: hashes to")


def test_what_the_gates_said_stands_beside_the_version(store: Store) -> None:
    candidate = get(store, 2)
    found = promotion.judge(Evidence(candidate, get(store, 1), 1000), SETTINGS)
    promotion._keep_table(candidate, found)
    shown = (get(store, 2).folder / "documents/gates.md").read_text()
    page = store.client.get_model_version(CLASSIFIER, "2").description
    assert page.startswith("# equal") and page.endswith(shown)
    for name in SETTINGS.gates:
        assert f"| {name} | pass |" in shown
    assert get(store, 2).artifact.joinpath("weights.safetensors").is_file(), "the model itself stays"


def test_events_wait_for_a_server_and_keep_their_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    crown(store, 1)
    crown(store, 2)
    promotion.rollback(store, "it mistakes cats")
    waiting = [json.loads(line) for line in announcements.OUTBOX.read_text().splitlines()]
    assert [(one["payload"]["kind"], one["payload"]["version"]) for one in waiting] == [
        ("promotion", "1"),
        ("promotion", "2"),
        ("rollback", "1"),
    ]
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert announcements.deliver() == 0, "nobody listens at that address"
    assert len(announcements.OUTBOX.read_text().splitlines()) == 3


def test_events_that_waited_reach_the_server(store: Store, server: str) -> None:
    from prefect.client.orchestration import get_client

    crown(store, 1)
    with announcements.OUTBOX.open("a") as file:
        waited = {"id": str(uuid4()), "event": "rootstock.champion.moved", "payload": {"version": "7"}}
        resource = {"prefect.resource.id": f"rootstock.test.{uuid4()}"}
        file.write(json.dumps({**waited, "resource": resource, "occurred": datetime.now(UTC).isoformat()}) + "\n")
    assert announcements.deliver() == 1
    assert announcements.OUTBOX.read_text() == ""
    wanted = {"filter": {"resource": {"id": [resource["prefect.resource.id"]]}}}
    with get_client(sync_client=True) as client:
        for _ in range(120):
            events = client.request("POST", "/events/filter", json=wanted).json()["events"]
            if events:
                break
            time.sleep(0.5)
    assert [event["id"] for event in events] == [waited["id"]]
