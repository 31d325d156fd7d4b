"""Every loss against a second implementation written from the paper's formula, one image at a time,
in plain loops.
"""

import math

import pytest
import torch

from stages.core.losses.contrastive import instance_cross_entropy, nt_xent
from stages.core.losses.redundancy import barlow_twins, vicreg
from stages.core.losses.regression import normalised_mse

N, D = 6, 5
TWO_VIEWS = {nt_xent: (0.2,), barlow_twins: (0.005,), vicreg: (25, 25, 1), normalised_mse: ()}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(N, D, generator=generator, dtype=torch.float64)
    return first, first + 0.3 * torch.randn(N, D, generator=generator, dtype=torch.float64)


def cosine(a, b):
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_nt_xent_by_the_formula_of_the_paper(pair):
    temperature, rows = 0.2, [*pair[0], *pair[1]]
    terms = []
    for i in range(2 * N):
        j = (i + N) % (2 * N)
        others = [math.exp(cosine(rows[i], rows[k]) / temperature) for k in range(2 * N) if k != i]
        terms.append(-math.log(math.exp(cosine(rows[i], rows[j]) / temperature) / sum(others)))
    assert float(nt_xent(*pair, temperature)) == pytest.approx(sum(terms) / (2 * N), rel=1e-5)


def test_instance_cross_entropy_by_the_formula(pair):
    (features, prototypes), index, temperature = pair, [0, 1, 2, 3, 4, 0], 0.1
    terms = []
    for row, i in zip(features, index, strict=True):
        scores = [math.exp(cosine(row, other) / temperature) for other in prototypes]
        terms.append(-math.log(scores[i] / sum(scores)))
    ours = instance_cross_entropy(features, prototypes, torch.tensor(index), temperature)
    assert float(ours) == pytest.approx(sum(terms) / N, rel=1e-5)


def test_autocast_does_not_reach_into_a_loss(pair):
    for loss, settings in TWO_VIEWS.items():
        plain = loss(*pair, *settings)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(*pair, *settings), plain), loss


def test_barlow_twins_by_the_formula(pair):
    first, second = (list(z.T) for z in pair)
    expected = 0.0
    for i in range(D):
        for j in range(D):
            a, b = first[i] - first[i].mean(), second[j] - second[j].mean()
            c = float(
                (a * b).mean()
                / ((a.square().mean() + 1e-5).sqrt() * (b.square().mean() + 1e-5).sqrt())
            )
            expected += (1 - c) ** 2 if i == j else 0.01 * c**2
    assert float(barlow_twins(*pair, 0.01)) == pytest.approx(expected, rel=1e-5)


def test_vicreg_by_the_formula(pair):
    invariance = sum(float((a - b).square().sum()) for a, b in zip(*pair, strict=True)) / (N * D)
    variance = covariance = 0.0
    for z in pair:
        for i in range(D):
            column = z[:, i] - z[:, i].mean()
            variance += (
                max(0.0, 1 - math.sqrt(float(column.square().sum()) / (N - 1) + 1e-4)) / D / 2
            )
            for j in range(D):
                if i != j:
                    other = z[:, j] - z[:, j].mean()
                    covariance += (float((column * other).sum()) / (N - 1)) ** 2 / D
    expected = 25 * invariance + 20 * variance + 2 * covariance
    assert float(vicreg(*pair, 25, 20, 2)) == pytest.approx(expected, rel=1e-5)


def test_normalised_mse_by_the_formula_and_without_gradient_to_the_target(pair):
    first, second = (z.clone().requires_grad_() for z in pair)
    loss = normalised_mse(first, second)
    expected = sum(2 - 2 * cosine(a, b) for a, b in zip(*pair, strict=True)) / N
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert second.grad is None
    assert first.grad.abs().sum() > 0


def test_agreeing_views_cost_less_than_strangers(pair):
    first, second = pair
    stranger = second.roll(1, dims=0)
    for loss, settings in TWO_VIEWS.items():
        assert loss(first, second, *settings) < loss(first, stranger, *settings), loss
