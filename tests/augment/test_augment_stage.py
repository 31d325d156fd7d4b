import json

import pytest
import torch
import yaml
from PIL import Image

from stages.augment.__main__ import main
from stages.augment.preview import CELL, VIEWS, views_of
from stages.augment.resolve import POLICIES, resolve
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


@pytest.mark.parametrize(
    ("channels", "size", "name"), [(1, 16, "glyphs"), (3, 32, "small_colour"), (3, 224, "colour")]
)
def test_auto_follows_channels_and_size(channels, size, name):
    assert resolve("auto", channels, size).name == name


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
            views = views_of(images, resolve(name, channels, 24), seed=0)
            assert views.shape == (3, VIEWS, channels, 24, 24)
            assert views.min() >= 0
            assert views.max() <= 1.0001
            assert (name == "none") == torch.equal(views[:, 0], images / 255)


def test_a_policy_for_other_images_or_of_no_name_is_refused():
    with pytest.raises(ConfigError, match=r"small_colour is for 3 channels, the images have 1"):
        resolve("small_colour", 1, 16)
    with pytest.raises(ConfigError, match="did you mean 'glyphs'"):
        resolve("glyph", 1, 16)
