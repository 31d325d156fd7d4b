import pytest
import torch

from stages.augment.resolve import resolve
from stages.augment.symmetry import Symmetry
from stages.core.errors import DataError
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.engine import ViewEngine, part
from stages.core.image.views.policy import Policy
from stages.core.views.plan import multi_crop, two_views


def engine(channels=3, size=32, plan=None, policy="auto"):
    preprocess = Preprocess(
        size=size, channels=channels, mean=(0.4,) * channels, std=(0.3,) * channels
    )
    return ViewEngine(resolve(policy, channels, size, Symmetry()), plan or two_views(), preprocess)


def pixels(n, channels=3, size=32):
    return torch.randint(
        0,
        256,
        (n, channels, size, size),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.uint8,
    )


def generator():
    return torch.Generator().manual_seed(9)


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (3, 64)])
def test_two_views_of_each_image_differ_and_carry_what_was_drawn(channels, size):
    made, images = engine(channels, size), pixels(10, channels, size)
    views = made.apply(images, made.sample(10, generator()), torch.arange(10))
    first, second = views.whole
    assert first.images.shape == images.shape
    assert first.images.is_contiguous(memory_format=torch.channels_last)
    assert (first.images - second.images).abs().mean() > 0.1
    assert first.drawn["crop"]["box"].shape == (10, 4)
    assert not torch.equal(first.drawn["crop"]["box"], second.drawn["crop"]["box"])
    assert views.images.shape == (20, channels, size, size)


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 64)])
def test_views_of_a_part_are_those_of_the_whole(channels, size):
    made, images = engine(channels, size), pixels(12, channels, size)
    draws = made.sample(12, generator())
    whole = made.apply(images, draws, torch.arange(12)).images.view(2, 12, channels, size, size)
    rows = slice(4, 9)
    some = made.apply(images[rows], part(draws, rows), torch.arange(12)[rows]).images.view(
        2, 5, channels, size, size
    )
    torch.testing.assert_close(some, whole[:, rows], atol=1e-5, rtol=0)


def test_small_crops_come_beside_the_two_full_views():
    made = engine(plan=multi_crop(local=3, local_size=0.5))
    views = made.apply(pixels(4), made.sample(4, generator()), torch.arange(4))
    assert len(views.whole) == 2
    assert [view.images.shape for view in views.local] == [(4, 3, 16, 16)] * 3
    areas = views.local[0].drawn["crop"]["box"][:, 2:].prod(dim=1)
    assert areas.max() <= 0.35 * 32 * 32


def test_the_policy_none_shows_the_clean_image():
    made, images = engine(policy="none"), pixels(4)
    views = made.apply(images, made.sample(4, generator()), torch.arange(4))
    torch.testing.assert_close(views.whole[0].images, made.preprocess.apply(images))


def test_no_global_generator_is_read_or_moved():
    made, images = engine(3, 64), pixels(6, 3, 64)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(made.apply(images, made.sample(6, generator()), torch.arange(6)).images)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


def test_a_policy_comes_back_from_disk_complete(tmp_path):
    policy = resolve("auto", 3, 64, Symmetry())
    policy.write(tmp_path / "policy.yaml")
    assert Policy.read(tmp_path / "policy.yaml") == policy
    jitter = next(op for op in policy.views[0] if op["op"] == "jitter")
    assert set(jitter) == {"op", "probability", "brightness", "contrast", "saturation", "hue"}


def test_a_policy_that_cannot_be_used_says_why(tmp_path):
    path = tmp_path / "policy.yaml"
    with pytest.raises(DataError, match="run the augment stage"):
        Policy.read(path)
    path.write_text("name: a\nwhy: b\nlocal: []\nviews: [[{op: jitter}, {op: crop}]]\n")
    with pytest.raises(DataError, match="geometric operations come first"):
        Policy.read(path)
