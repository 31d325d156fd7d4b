import json

import pytest
import torch
import yaml
from PIL import Image

from stages.augment.__main__ import main
from stages.augment.preview import CELL, VIEWS, views_of
from stages.augment.resolve import POLICIES, resolve
from stages.augment.symmetry import Symmetry
from stages.core import paths, plugins
from stages.core.errors import ConfigError
from tests.support.transfer import digest, run_stage, small_params, write_project


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(count=60)
    return tmp_path


def test_the_stage_writes_the_whole_policy_and_a_legible_preview_twice_the_same(project):
    run_stage(main, small_params())
    first = digest(paths.AUGMENTATION, paths.REPORTS, paths.METRICS)
    policy = yaml.safe_load(paths.POLICY.read_text())
    assert policy["name"] == "glyphs"
    assert "mirror" in policy["why"]
    assert not any(op["op"] == "flip" for view in policy["views"] for op in view)
    assert all("probability" in op for view in policy["views"] for op in view)
    preview = Image.open(paths.reports("augment") / "preview.png")
    assert preview.width > (1 + VIEWS) * CELL
    assert preview.height > 8 * CELL
    assert json.loads(paths.metrics("augment").read_text())["mean_change"] > 0.01
    run_stage(main, small_params())
    assert digest(paths.AUGMENTATION, paths.REPORTS, paths.METRICS) == first


SYMMETRIC, MIRRORED, NEITHER = Symmetry(0.5, 0.5), Symmetry(0.5, 1.0), Symmetry(1.0, 1.0)


@pytest.mark.parametrize(
    ("channels", "symmetry", "name", "flips", "turns"),
    [
        (1, NEITHER, "glyphs", False, False),
        (1, MIRRORED, "fitted", True, False),
        (3, NEITHER, "fitted", False, False),
        (3, MIRRORED, "fitted", True, False),
        (3, SYMMETRIC, "fitted", True, True),
    ],
)
def test_auto_follows_the_channels_and_the_symmetry_of_the_images(
    channels, symmetry, name, flips, turns
):
    policy = resolve("auto", channels, 32, symmetry)
    assert policy.name == name
    for view in (*policy.views, policy.local):
        assert any(op["op"] == "flip" for op in view) is flips
        assert any(op.get("degrees") == 180.0 for op in view) is turns


def test_a_mirror_image_that_is_noticed_keeps_crops_larger():
    def smallest(symmetry):
        view = resolve("fitted", 3, 64, symmetry).views[0]
        return next(op["scale"][0] for op in view if op["op"] == "crop")

    assert smallest(NEITHER) > smallest(MIRRORED)


def test_flips_can_be_set_whatever_was_measured():
    def flips(policy):
        return any(op["op"] == "flip" for op in policy.views[0])

    assert flips(resolve("auto", 3, 32, NEITHER, flips=True))
    assert not flips(resolve("auto", 3, 32, SYMMETRIC, flips=False))
    assert resolve("auto", 1, 16, NEITHER, flips=True).name == "fitted"
    assert resolve("auto", 1, 16, SYMMETRIC, flips=False).name == "glyphs"
    turned = resolve("auto", 3, 32, SYMMETRIC, flips=False).views[0]
    assert not any(op.get("degrees") == 180.0 for op in turned)


def test_what_was_measured_is_said_and_kept(project, capsys):
    run_stage(main, small_params())
    found = json.loads(paths.metrics("augment").read_text())
    assert found["told_apart"] == {"mirrored": 1.0, "turned": 1.0}
    assert "augment: a network notices 100% of mirror images" in capsys.readouterr().out
    run_stage(main, small_params(augment__policy="glyphs"))
    assert "a network notices" not in capsys.readouterr().out, "a policy by name asks nothing"


def test_every_policy_makes_views_of_its_kind_of_image():
    for name in plugins.names(POLICIES):
        for channels in plugins.load(POLICIES, name).CHANNELS:
            images = torch.randint(
                0,
                256,
                (3, channels, 24, 24),
                generator=torch.Generator().manual_seed(0),
                dtype=torch.uint8,
            )
            views = views_of(images, resolve(name, channels, 24, SYMMETRIC), seed=0)
            assert views.shape == (3, VIEWS, channels, 24, 24)
            assert views.min() >= 0
            assert views.max() <= 1.0001
            assert (name == "none") == torch.equal(views[:, 0], images / 255)


def test_a_policy_for_other_images_or_of_no_name_is_refused():
    with pytest.raises(ConfigError, match=r"small_colour is for 3 channels, the images have 1"):
        resolve("small_colour", 1, 16, NEITHER)
    with pytest.raises(ConfigError, match="did you mean 'glyphs'"):
        resolve("glyph", 1, 16, NEITHER)
