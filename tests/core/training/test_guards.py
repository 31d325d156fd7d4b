import json

import pytest

from stages.core.errors import StageFailed
from stages.core.training.guards import Guard

NAN = float("nan")


def test_the_third_bad_loss_in_a_row_stops_the_run_and_leaves_ids_and_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guard = Guard("pretrained", seed=7)
    for step, loss in enumerate([1.0, NAN, NAN, 1.0, NAN, float("inf")]):
        guard.see(step, {"loss": loss, "gradient_norm": 1.0}, lambda: ["x"])
    with pytest.raises(StageFailed, match="3 times in a row"):
        guard.see(6, {"loss": NAN, "gradient_norm": 1.0}, lambda: ["id1", "id2"])
    written = json.loads((tmp_path / ".rootstock/failed/pretrained.json").read_text())
    assert written["ids"] == ["id1", "id2"]
    assert (written["seed"], written["step"]) == (7, 6)


def test_spikes_are_counted_and_not_fatal():
    guard = Guard("pretrained", seed=0)
    for step in range(50):
        loss, norm = (30.0 if step == 20 else 1.0), (90.0 if step in (10, 30) else 1.0)
        guard.see(step, {"loss": loss, "gradient_norm": norm}, list)
    assert guard.counts() == {"bad": 0, "loss_spikes": 1, "gradient_spikes": 2}
