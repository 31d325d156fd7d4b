import torch
from torch.nn.functional import avg_pool2d

from stages.core.image.views.overlap import partners
from stages.core.image.views.warp import Warp
from stages.core.views.tiles import tiles, turned, untiled

SIDE, CELLS = 32, 4


def seen(warp, pixels):
    """What each place of a view shows of an image whose pixels say where they are."""
    return avg_pool2d(warp.apply(pixels, (SIDE, SIDE)), SIDE // CELLS).flatten(2).transpose(1, 2)


def test_places_that_are_partners_show_the_same_part_of_the_image():
    generator = torch.Generator().manual_seed(0)
    n = 16
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.stack([y, x]).float().expand(n, 2, SIDE, SIDE)
    views = []
    for _ in range(2):
        box = torch.rand(n, 4, generator=generator)
        extent = 16 + 8 * box[:, 2:]
        start = box[:, :2] * (SIDE - extent)
        mirrored = torch.rand(n, 2, generator=generator) < 0.5
        views.append(Warp(torch.cat([start, extent], dim=1), mirrored))
    place, inside = partners(*views, SIDE, CELLS)
    shown, other = seen(views[0], pixels), seen(views[1], pixels)
    gap = (shown - other.gather(1, place.unsqueeze(2).expand(-1, -1, 2))).abs().amax(dim=2)
    assert 0.2 < inside.float().mean() < 0.95
    assert gap[inside].max() < 24 / CELLS / 2 + 1, "at most half a place apart"
    assert gap[~inside].min() > 0


def test_turned_views_are_turned_back():
    matrix = torch.tensor([[[0.0, -1.0, 2.0], [1.0, 0.0, 0.0]]])
    still, moved = (Warp.of(torch.zeros(1, 1, SIDE, SIDE)) for _ in range(2))
    moved = moved.turned(matrix)
    place, inside = partners(still, moved, SIDE, SIDE)
    pixels = torch.arange(SIDE * SIDE).float().view(1, 1, SIDE, SIDE)
    view = moved.apply(pixels, (SIDE, SIDE)).flatten()
    torch.testing.assert_close(
        view[place[0][inside[0]]], pixels.flatten()[inside[0]], atol=1e-3, rtol=0
    )
    assert inside.float().mean() > 0.9


def test_a_view_is_its_own_partner():
    warp = Warp.of(torch.zeros(2, 1, SIDE, SIDE))
    place, inside = partners(warp, warp, SIDE, CELLS)
    assert torch.equal(place, torch.arange(CELLS**2).expand(2, -1))
    assert inside.all()


def test_tiles_join_to_the_image_and_quarter_turns_are_those_of_each_image():
    images = torch.rand(3, 2, 6, 6)
    assert tiles(images, 3).shape == (3, 9, 2, 2, 2)
    assert torch.equal(untiled(tiles(images, 3), 3), images)
    found = turned(images, torch.tensor([0, 1, 3]))
    assert torch.equal(found[0], images[0])
    assert torch.equal(found[1], images[1].rot90(1, (1, 2)))
    assert torch.equal(found[2], images[2].rot90(3, (1, 2)))
