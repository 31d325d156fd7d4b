"""The drift check: quiet on what training looked like, an alarm on what it did not, and never more
false alarms than allowed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from flows.adapters.prefect import events
from flows.monitoring.drift import announce, judge, unknown
from flows.monitoring.features import files
from flows.monitoring.report import report
from flows.serving import prediction_log
from flows.serving.prediction_log import LOG
from stages.core.errors import ConfigError, DataError
from stages.core.random import numpy_generator
from stages.core.sections import Monitor

MONITOR = Monitor(
    alpha=0.05, threshold=0.1, neighbours=5, max_images=100, max_unknown=0.2, retrain=False
)


def features(address: int, count: int, shift: float = 0.0) -> np.ndarray:
    return (numpy_generator(address, "monitoring").standard_normal((count, 6)) + shift).astype(
        np.float32
    )


def test_unchanged_images_stay_quiet_as_often_as_promised() -> None:
    alarms = sum(
        judge(features(2 * i, 150), features(2 * i + 1, 60), MONITOR, i, "champion").alarm
        for i in range(60)
    )
    assert alarms <= 60 * 0.05 + 2 * np.sqrt(60 * 0.05 * 0.95)


def test_shifted_and_unknown_images_raise_an_alarm_that_says_why() -> None:
    shifted = judge(features(0, 300), features(1, 100, 0.8), MONITOR, 0, "champion")
    assert shifted.alarm
    assert shifted.reasons[0] == "drift"
    strange = features(1, 100)
    strange[:60] *= 12
    found = judge(features(0, 300), strange, MONITOR, 0, "rootstock-classifier version 3")
    assert "unknown images" in found.reasons
    assert found.unknown == pytest.approx(0.6, abs=0.06)
    assert found.sentence.startswith("ALARM")
    assert "version 3" in found.sentence


def test_about_one_training_image_in_a_hundred_counts_as_unknown() -> None:
    assert unknown(features(0, 4000), features(1, 4000), 0).mean() == pytest.approx(0.01, abs=0.006)


def test_the_report_stands_alone(tmp_path: Path) -> None:
    found = judge(features(0, 100), features(1, 50), MONITOR, 0, "champion")
    page = report(found, tmp_path, np.zeros((3, 1, 8, 8), dtype=np.uint8)).read_text()
    assert found.sentence in page
    assert page.count("data:image/png;base64,") == 1
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert (tmp_path / "reports/drift/drift.json").is_file()


def test_quiet_or_alarm_an_event_waits_for_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for shift in (0.0, 0.8):
        announce(judge(features(0, 300), features(1, 100, shift), MONITOR, 0, "champion"), "7")
    waiting = [json.loads(line) for line in events.OUTBOX.read_text().splitlines()]
    assert [(one["event"], one["payload"]["alarm"]) for one in waiting] == [
        ("rootstock.drift.quiet", False),
        ("rootstock.drift", True),
    ]
    assert {one["resource"]["rootstock.version"] for one in waiting} == {"7"}


def test_a_line_that_a_killed_predict_left_half_written_does_not_end_the_check(
    tmp_path: Path,
) -> None:
    images = touched(tmp_path, 2)
    first, second = (json.dumps({"image": str(image)}) + "\n" for image in images)
    (tmp_path / ".rootstock").mkdir()
    (tmp_path / LOG).write_text(
        first[:9] + first + first + second
    )  # the torn line swallowed the one after it
    assert files(None, tmp_path, 10) == images[::-1]
    (tmp_path / LOG).write_text(first[:9])
    with pytest.raises(ConfigError, match="none of the images predicted so far"):
        files(None, tmp_path, 10)


def test_the_last_predictions_are_looked_at_and_the_log_forgets_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = touched(tmp_path, 9)
    prediction_log.remember(images[:6])
    prediction_log.remember(images[4:])
    images[7].unlink()
    assert files(None, tmp_path, 3) == [images[8], images[6], images[5]]
    monkeypatch.setattr(prediction_log, "LIMIT", LOG.stat().st_size)
    prediction_log.remember(images[:1])
    assert files(None, tmp_path, 99) == [images[0], images[8], images[6], images[5], images[4]]


def touched(folder: Path, count: int) -> list[Path]:
    images = [folder / f"{number}.png" for number in range(count)]
    for image in images:
        image.write_bytes(b"")
    return images


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="too few"):
        judge(features(0, 100), features(1, 5), MONITOR, 0, "champion")


@pytest.mark.parametrize("unseen", [(8, 9), (0, 1)])
def test_classes_that_training_never_saw_count_as_unknown_far_more_often(
    unseen: tuple[int, ...],
) -> None:
    digits = load_digits()
    strange = np.isin(digits.target, unseen)
    order = numpy_generator(0, "unseen").permutation(np.flatnonzero(~strange))
    seen, held, new = (
        digits.data[rows].astype(np.float32) for rows in (order[:1000], order[1000:], strange)
    )
    assert unknown(seen, new, 0).mean() > 5 * max(unknown(seen, held, 0).mean(), 0.01)
