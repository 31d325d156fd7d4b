"""What ``auto`` becomes, and that probes stay affordable."""

import pytest

from stages.core.views.plan import multi_crop, one_view, two_views
from stages.pretrain.recipe import probe_cost, probe_epochs, recipe
from stages.pretrain.report import probe_share
from tests.pretrain.pretraining import quick

SHARE = 0.05


def test_a_probe_costs_its_images_more_when_training_looks_at_fewer_views():
    assert probe_cost(300, two_views()) == pytest.approx(100)
    assert probe_cost(300, one_view()) == pytest.approx(200)
    assert probe_cost(300, multi_crop(local=4, local_size=0.5)) == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("images", "probed"), [(1437, 1500), (200, 400), (50_000, 4096), (30, 4096)]
)
def test_probes_along_the_way_take_at_most_their_share_of_the_work(images, probed, capsys):
    own = quick(
        pretrain__probe_every=1, pretrain__epochs=10_000, pretrain__probe_share=SHARE
    ).pretrain
    cost = probe_cost(probed, two_views())
    every = probe_epochs(own, images, cost)
    assert cost / (cost + every * images) <= SHARE + 1e-9
    assert every == 1 or cost / (cost + (every - 1) * images) > SHARE
    assert (f"probes come every {every} epochs" in capsys.readouterr().out) == (every > 1)


def test_what_is_affordable_comes_as_often_as_asked_for_and_always_at_the_end():
    own = quick(pretrain__probe_every=10, pretrain__epochs=30, pretrain__probe_share=SHARE).pretrain
    assert probe_epochs(own, 1437, 500.0) == 10
    assert probe_epochs(own, 1437, 1e9) == 30
    assert recipe(own, 0, 128, 11, "pretrained", cost=1e9).probe_every == 30 * 11
    assert recipe(own, 0, 128, 11, "pretrained", cost=0.0).probe_every == 10 * 11


def test_a_measured_share_above_the_limit_is_a_warning_that_says_what_would_fit():
    own = quick(pretrain__probe_every=10, pretrain__probe_share=SHARE).pretrain
    assert probe_share("control", 0.049, own) == "control: probes took 4.9% of the time"
    said = probe_share("control", 0.12, own)
    assert said.startswith("WARNING: control: probes took 12.0% of the time")
    assert "pretrain.probe_every about 24" in said
