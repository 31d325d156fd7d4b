"""What every gate says of a candidate, and when it says no or cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.registry import answers, get, version
from flows.adapters.mlflow.store import Store
from flows.pipeline.preflight import check_choices
from flows.promotion import promote
from flows.promotion.evidence import Evidence, Predictions, Verdict, worst
from flows.registry.registration import register
from flows.registry.versions import CLASSIFIER, EVALUATION
from stages.core.errors import ConfigError
from stages.core.params import load_params
from stages.core.sections import Promote

SETTINGS = Promote(
    resamples=1000, gates={"validation": True, "lineage": True, "accuracy": 0.5, "champion": 0.01}
)


def verdicts(
    store: Store, candidate: int, champion: int | None, settings: Promote = SETTINGS
) -> dict[str, bool | None]:
    evidence = Evidence(
        get(store, candidate), get(store, champion) if champion else None, settings.resamples
    )
    return {name: found.passed for name, found in promote.judge(evidence, settings).items()}


def judged(
    store: Store, gate: str, threshold: float | bool, candidate: int = 1, champion: int | None = 1
) -> Verdict:
    evidence = Evidence(get(store, candidate), get(store, champion) if champion else None, 1000)
    return promote.judge(evidence, Promote(resamples=1000, gates={gate: threshold}))[gate]


def test_the_first_version_needs_no_champion(looked_at: Store) -> None:
    assert verdicts(looked_at, 1, None) == {
        "validation": True,
        "lineage": True,
        "accuracy": True,
        "champion": None,
    }


def test_an_equal_one_passes_and_a_worse_one_does_not(looked_at: Store) -> None:
    assert verdicts(looked_at, 2, 1)["champion"] is True
    assert verdicts(looked_at, 3, 1)["champion"] is False
    lenient = Promote(resamples=1000, gates={"champion": 0.2})
    assert verdicts(looked_at, 3, 1, lenient) == {"champion": True}


def test_a_floor_is_a_floor(looked_at: Store) -> None:
    assert (
        verdicts(looked_at, 3, None, Promote(resamples=1000, gates={"accuracy": 0.85}))["accuracy"]
        is False
    )
    assert (
        verdicts(looked_at, 1, None, Promote(resamples=1000, gates={"accuracy": 0.85}))["accuracy"]
        is True
    )


def test_a_gate_that_is_off_is_not_asked(looked_at: Store) -> None:
    assert verdicts(
        looked_at, 3, 1, Promote(resamples=1000, gates={"champion": False, "lineage": True})
    ) == {"lineage": True}


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
    looked_at: Store,
    gate: str,
    threshold: float,
    candidate: int,
    champion: int | None,
    passed: bool | None,
    value: str | None,
) -> None:
    found = judged(looked_at, gate, threshold, candidate, champion)
    assert found.passed is passed, found
    assert value is None or found.value == value
    assert found.passed or found.reason, "a no and a not-applicable say why"


def test_any_metric_can_be_a_gate_with_a_threshold_of_its_own(looked_at: Store) -> None:
    from sklearn.metrics import f1_score

    evidence = Evidence(get(looked_at, 1), None, 500)
    asked = Promote(resamples=500, gates={"metric": {"macro_f1": 0.5, "worst_class": 0.99}})
    found = promote.judge(evidence, asked)
    assert {name: one.passed for name, one in found.items()} == {
        "metric.macro_f1": True,
        "metric.worst_class": False,
    }
    assert evidence.answers is not None
    table = evidence.answers.table
    expected = f1_score(table["label"], table["predicted"], average="macro")
    assert float(found["metric.macro_f1"].value) == pytest.approx(expected, abs=1e-4)
    low, high = map(float, found["metric.macro_f1"].interval.split(" … "))
    assert low < expected < high
    assert "worst_class" in found["metric.worst_class"].reason


def test_a_metric_replaces_no_gate_of_its_name(looked_at: Store) -> None:
    asked = Promote(resamples=100, gates={"accuracy": 1.0, "metric": {"accuracy": 0.0}})
    found = promote.judge(Evidence(get(looked_at, 1), None, 100), asked)
    assert {name: one.passed for name, one in found.items()} == {
        "accuracy": False,
        "metric.accuracy": True,
    }


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"metric": {"macro_f2": 0.5}}, "macro_f1"),
        ({"metric": True}, "names its metrics"),
        ({"accuracy": {"macro_f1": 0.5}}, "promote.gates.metric"),
    ],
)
def test_thresholds_by_metric_are_checked_before_anything_runs(
    gates: dict[str, Any], said: str
) -> None:
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    changed = params.promote.model_copy(update={"gates": gates})
    with pytest.raises(ConfigError, match=said):
        check_choices(params.model_copy(update={"promote": changed}), sources=False)


def test_versions_are_compared_on_the_test_images_both_were_asked(store: Store) -> None:
    """Data that grew has other test images as well; a relabelled image counts with the label it has
    now.
    """
    table = answers(0.95, images=300)
    table.loc[table.index[:20], "label"] = [
        {"cat": "dog", "dog": "cat"}[label] for label in table["label"][:20]
    ]
    grown = int(version(store, Path("model"), "grown", table).number)
    for gate in ("champion", "mcnemar", "retention"):
        found = judged(store, gate, 0.01, grown, 1)
        assert found.value != "no comparison"
        assert (
            found.passed is False
            or found.reason == "on the 300 of 300 test images that both were asked"
        )
    pairs = Evidence(get(store, grown), get(store, 1), 1000).pairs
    assert pairs is not None and len(pairs.ours) == 300
    before = answers(0.9)[:300]
    assert (pairs.theirs == (before["predicted"] == table["label"]).to_numpy()).all()


def test_too_few_shared_test_images_are_no_comparison(store: Store) -> None:
    table = answers(0.95)
    table["id"] = [name if row < 29 else f"other {name}" for row, name in enumerate(table["id"])]
    odd = int(version(store, Path("model"), "odd", table).number)
    for gate in ("champion", "mcnemar", "retention"):
        found = judged(store, gate, 0.01, odd, 1)
        assert (found.passed, found.value) == (False, "no comparison")
        assert "rootstock promote --new-task --why TEXT" in found.reason


def test_a_candidate_without_predictions_is_told_so_and_not_that_the_champion_was_asked_others(
    store: Store,
) -> None:
    get(store, 2).tag({EVALUATION: store.start("evaluate", None, {})})
    for gate in ("champion", "mcnemar", "retention"):
        found = judged(store, gate, 0.01, 2, 1)
        assert (found.passed, found.reason) == (
            False,
            "no predictions were logged for it: rootstock run --force evaluate",
        )


def test_a_hole_in_the_chain_is_refused(store: Store) -> None:
    run = store.start("finetune", None, {})
    store.end(run, "FINISHED")
    lone = register(store, CLASSIFIER, Path("model"), "f" * 32 + ".dir", run, {})
    found = promote.judge(
        Evidence(lone, None, 1000), Promote(resamples=1000, gates={"lineage": True})
    )["lineage"]
    assert found.passed is False and "source images" in found.reason


def test_calibration_and_corruption_match_a_count_by_hand(store: Store) -> None:
    table = answers(0.9)
    table["predicted_noise_1"] = table["label"]
    table["predicted_noise_2"] = ["cat"] * len(table)
    odd = int(version(store, Path("model"), "corrupted", table).number)
    assert judged(store, "corruption", 0.7, odd, None).value == "0.7500"
    confidence = [max(row) for row in table["probabilities"]]
    right = table["label"] == table["predicted"]
    sure, unsure = [c > 0.75 for c in confidence], [c <= 0.75 for c in confidence]
    by_hand = sum(sure) / 400 * abs(0.9 - right[sure].mean()) + sum(unsure) / 400 * abs(
        0.6 - right[unsure].mean()
    )
    assert judged(store, "calibration", 1.0, odd, None).value == f"{by_hand:.4f}"


def test_images_that_were_not_corrupted_do_not_count_as_wrong(store: Store) -> None:
    """Of a large test split evaluate corrupts two thousand; the answer to the others is null."""
    table = answers(0.9)
    table["predicted_noise_1"] = [
        label if row < 100 else None for row, label in enumerate(table["label"])
    ]
    table["predicted_blur_1"] = ["cat" if row < 100 else None for row in range(len(table))]
    some = int(version(store, Path("model"), "some corrupted", table).number)
    assert judged(store, "corruption", 0.7, some, None).value == "0.7500"


def test_a_class_that_no_test_image_shows_does_not_shift_the_others(store: Store) -> None:
    """The columns of the probabilities are the classes of the classifier, not those that happen to
    occur.
    """
    table = answers(0.9)
    table["probabilities"] = [
        [0.0, *row] for row in table["probabilities"]
    ]  # an "ant" that nobody ever saw or said
    assert Predictions(table).calibration_error == Predictions(answers(0.9)).calibration_error
    rare = int(version(store, Path("model"), "rare", table).number)
    assert (
        judged(store, "calibration", 1.0, rare, None).value
        == judged(store, "calibration", 1.0, 1, None).value
    )


def test_images_without_a_group_are_no_group() -> None:
    table = answers(0.9)
    table["group"] = ["left", "right", None, None] * 100
    groups = Predictions(table).groups
    assert groups is not None
    correct = np.array([group is not None for group in groups])
    assert (
        "group left" in worst(correct, groups, "group", 0.5).reason
        and worst(correct, groups, "group", 0.5).value == "1.0000"
    )


def test_a_rotated_embedding_is_not_compatible_with_the_old_index() -> None:
    from flows.promotion.gates.compatibility import nearest_accuracy

    drawn = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"] * 30, dtype=object)
    vectors = (
        np.eye(8)[[ord(name) - 97 for name in labels]] + 0.1 * drawn.normal(size=(90, 8))
    ).astype(np.float32)
    rotation = np.linalg.qr(drawn.normal(size=(8, 8)))[0].astype(np.float32)
    assert nearest_accuracy(vectors, vectors, labels) == 1.0
    assert nearest_accuracy(vectors @ rotation, vectors, labels) < 0.7


def test_new_queries_must_find_their_like_in_the_champions_index(
    store: Store, tmp_path: Path
) -> None:
    table, drawn = answers(0.9), np.random.default_rng(0)
    vectors = np.eye(8)[[int(label == "cat") for label in table["label"]]] + 0.1 * drawn.normal(
        size=(len(table), 8)
    )
    rotation = np.linalg.qr(drawn.normal(size=(8, 8)))[0]
    for number, embedded in {1: vectors, 2: vectors * 2, 3: vectors @ rotation}.items():
        file = tmp_path / "embeddings.parquet"
        pd.DataFrame(
            {"id": table["id"], "embedding": list(embedded.astype(np.float32))}
        ).to_parquet(file)
        store.client.log_artifact(
            get(store, number).tags[EVALUATION], str(file), "reports/evaluate"
        )
    same, turned = (judged(store, "compatibility", 0.9, number, 1) for number in (2, 3))
    assert same.passed is True and same.value == "1.0000"
    assert turned.passed is False and turned.reason == "the champion's index must be rebuilt"


def test_embeddings_without_predictions_are_a_verdict_and_no_crash(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "embeddings.parquet"
    pd.DataFrame({"id": ["a", "b"], "embedding": [[1.0], [2.0]]}).to_parquet(file)
    run = store.start("evaluate", None, {})
    store.client.log_artifact(run, str(file), "reports/evaluate")
    get(store, 2).tag({EVALUATION: run})
    get(store, 1).tag({EVALUATION: run})
    found = judged(store, "compatibility", 0.9, 2, 1)
    assert found.passed is False and "no predictions" in found.reason


def test_a_champion_without_a_rank_is_not_called_missing(store: Store) -> None:
    chain = Evidence(get(store, 2), None, 1000).chain
    made = next(step.run for step in chain.steps.values() if step.stage == "pretrain")
    store.metrics(made, {"rankme": 12.0})
    assert judged(store, "rank", 0.5, 2, None).reason == "there is no champion to compare with"
    assert (
        judged(store, "rank", 0.5, 2, 1).reason
        == "no pretrain run behind the champion logged a RankMe"
    )


def test_an_approval_holds_for_the_version_it_was_given_to(store: Store) -> None:
    get(store, 1).tag({promote.APPROVED: "Ada"})
    assert judged(store, "approval", True, 1, None).passed is True
    assert judged(store, "approval", True, 2, None).passed is False


def test_answers_are_compared_image_by_image_in_any_order() -> None:
    table = answers(0.7)
    shuffled = Predictions(table.sample(frac=1, random_state=1).reset_index(drop=True))
    assert Predictions(table).same_images(shuffled)
    assert (shuffled.in_order_of(Predictions(table)).correct == Predictions(table).correct).all()


def test_a_flipped_bit_in_the_registered_weights_fails_the_lineage_gate(store: Store) -> None:
    assert judged(store, "lineage", True).passed is True
    weights = get(store, 1).artifact / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = judged(store, "lineage", True)
    assert found.passed is False and found.reason.startswith(
        f"{CLASSIFIER} version 1 differs: hashes to"
    )
