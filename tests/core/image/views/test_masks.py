import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from stages.core import plugins
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.engine import MASKS, ViewEngine
from stages.core.image.views.masks import block, groups, multi_block, random
from stages.core.image.views.policy import Policy
from stages.core.views.plan import masked


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 14), st.floats(0.1, 0.9), st.integers(0, 5))
def test_random_masks_and_groups_hide_exactly_the_share(patches, ratio, seed):
    for kind in (random, groups):
        mask = kind.sample(6, patches, ratio, generator(seed))
        assert mask.shape == (6, patches, patches)
        assert (mask.flatten(1).sum(dim=1) == round(ratio * patches**2)).all()


def test_a_random_mask_hides_every_patch_equally_often():
    often = random.sample(4000, 6, 0.5, generator()).double().mean(dim=0)
    assert (often - 0.5).abs().max() < 0.04


def test_groups_are_at_most_three_connected_pieces_of_many_shapes():
    masks = groups.sample(40, 10, 0.4, generator())
    assert all(label(mask.numpy())[1] <= groups.SEEDS for mask in masks)
    assert len({mask.numpy().tobytes() for mask in masks}) == 40


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 14), st.floats(0.1, 0.8))
def test_a_block_is_one_full_rectangle_of_about_the_area(patches, ratio):
    for mask in block.sample(8, patches, ratio, generator()):
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert torch.equal(mask, rows.unsqueeze(1) & columns.unsqueeze(0))
        assert label(mask.numpy())[1] == 1
        assert abs(int(mask.sum()) - ratio * patches**2) <= patches


def test_several_blocks_cover_about_the_share():
    masks = multi_block.sample(500, 14, 0.6, generator()).double()
    assert 0.45 < masks.mean() < 0.7
    assert masks.flatten(1).mean(dim=1).std() > 0.02


def test_an_objective_gets_a_mask_with_every_view():
    preprocess = Preprocess(size=16, channels=1, mean=(0.5,), std=(0.5,))
    images = torch.zeros(5, 1, 16, 16, dtype=torch.uint8)
    for kind in plugins.names(MASKS):
        engine = ViewEngine(
            Policy(name="none", why="", views=((),), local=()),
            masked(kind, ratio=0.5, patches=4),
            preprocess,
        )
        (view,) = engine.apply(images, engine.sample(5, generator()), torch.arange(5)).whole
        assert view.mask.shape == (5, 4, 4), kind
        assert 0 < view.mask.double().mean() < 1
