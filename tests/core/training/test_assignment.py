import torch

from stages.core.training.assignment import Centre, sinkhorn


def test_sinkhorn_fills_prototypes_equally_and_gives_each_image_one_in_all():
    scores = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) + torch.arange(8) / 2
    plan = sinkhorn(scores.tanh(), 0.5, iterations=50)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(plan.sum(dim=0), torch.full((8,), 8.0), atol=1e-3, rtol=0)
    assert (scores.softmax(dim=1).sum(dim=0) - 8).abs().max() > 2


def test_sinkhorn_survives_scores_far_apart():
    plan = sinkhorn(torch.tensor([[50.0, 0.0], [0.0, -50.0]]), 0.05)
    assert torch.isfinite(plan).all()


def test_a_centre_takes_off_what_all_images_score_and_moves_after_the_update():
    centre = Centre(3, momentum=0.0)
    scores = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.1, 0.0]])
    assert (centre(scores, 0.1).argmax(dim=1) == 0).all()
    assert torch.equal(centre.mean, torch.zeros(3))
    centre.advance()
    torch.testing.assert_close(centre.mean, scores.mean(dim=0))
    assert (centre(scores, 0.1).argmax(dim=1) != 0).any()
    centre(torch.full((2, 3), float("nan")), 0.1)
    centre.advance()
    assert torch.isfinite(centre.mean).all()
