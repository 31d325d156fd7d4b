"""Objectives without negatives, number by number."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from tests.families.oracles.naive import (
    cosine,
    embeddings,
    length,
    mean,
    oracle,
    predictions,
    taught,
    unit,
    vectors,
)


def chords(first, second):
    return mean([2 - 2 * cosine(a, b) for a, b in zip(first, second, strict=True)])


@oracle("byol")
def byol(module, views):
    predicted, targets = predictions(module, views), taught(module, views)
    return (chords(predicted[0], targets[1]) + chords(predicted[1], targets[0])) / 2


@oracle("simsiam")
def simsiam(module, views):
    predicted, targets = predictions(module, views), embeddings(module, views)
    return (chords(predicted[0], targets[1]) + chords(predicted[1], targets[0])) / 2


@oracle("directpred")
def directpred(module, views):
    (first, second), targets = embeddings(module, views), taught(module, views)
    values, basis = np.linalg.eigh(module.correlation.numpy())
    scales = [math.sqrt(max(0.0, v) / max(values)) + module.settings.boost for v in values]

    def predict(z):
        parts = [(z @ basis[:, k]) * scales[k] * basis[:, k] for k in range(len(z))]
        return sum(parts)

    there = chords([predict(z) for z in first], targets[1])
    return (there + chords([predict(z) for z in second], targets[0])) / 2


def standard(rows):
    """Columns with mean 0 and variance 1."""
    columns = []
    for column in np.array(rows).T:
        centre = mean(list(column))
        variance = mean([(x - centre) ** 2 for x in column])
        columns.append([(x - centre) / math.sqrt(variance + 1e-5) for x in column])
    return np.array(columns).T


def barlow(first, second, weight):
    a, b, total = standard(first), standard(second), 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            c = mean([x * y for x, y in zip(a[:, i], b[:, j], strict=True)])
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


@oracle("barlow_twins")
def barlow_twins(module, views):
    first, second = embeddings(module, views)
    return barlow(first, second, module.settings.off_diagonal) / len(first[0])


@oracle("mixed_barlow_twins")
def mixed_barlow_twins(module, views):
    (first, second), own = embeddings(module, views), module.settings
    n, images = len(first), []
    for i in range(n):
        part = views.chances[i, 0]
        other = views.whole[1].images[i ^ 1]
        images.append(part * views.whole[0].images[i] + (1 - part) * other)
    stacked = views.images.new_empty(views.whole[0].images.shape)
    for i in range(n):
        stacked[i] = images[i]
    mixed = standard(vectors(module.projector(module.backbone(stacked))))
    a, b = standard(first), standard(second)
    gap = 0.0
    for view in (a, b):
        for i in range(a.shape[1]):
            for j in range(a.shape[1]):
                found = mean([mixed[k, i] * view[k, j] for k in range(n)])
                parts = [float(views.chances[k, 0]) for k in range(n)]
                goal = mean(
                    [
                        (parts[k] * a[k, i] + (1 - parts[k]) * b[k ^ 1, i]) * view[k, j]
                        for k in range(n)
                    ]
                )
                gap += (found - goal) ** 2
    return (barlow(first, second, own.off_diagonal) + own.mixing * gap) / a.shape[1]


@oracle("vicreg")
def vicreg(module, views):
    (first, second), own = embeddings(module, views), module.settings
    n, d = len(first), len(first[0])
    pairs = zip(first, second, strict=True)
    invariance = sum(float(((a - b) ** 2).sum()) for a, b in pairs) / (n * d)
    variance = covariance = 0.0
    for z in (np.array(first), np.array(second)):
        for i in range(d):
            column = z[:, i] - z[:, i].mean()
            variance += max(0.0, 1 - math.sqrt(sum(column**2) / (n - 1) + 1e-4)) / d / 2
            for j in range(d):
                if i != j:
                    other = z[:, j] - z[:, j].mean()
                    covariance += (sum(column * other) / (n - 1)) ** 2 / d
    weights = own.invariance, own.variance, own.covariance
    terms = zip(weights, (invariance, variance, covariance), strict=True)
    return sum(w * term for w, term in terms) / sum(weights)


@oracle("w_mse")
def w_mse(module, views):
    first, second = embeddings(module, views)
    both, ridge = np.array([*first, *second]), module.settings.ridge
    centred = both - both.mean(axis=0)
    d = both.shape[1]
    covariance = np.zeros((d, d))
    for row in centred:
        covariance += np.outer(row, row) / (len(both) - 1)
    factor = np.linalg.cholesky((1 - ridge) * covariance + ridge * np.eye(d))
    white = [np.linalg.inv(factor) @ row for row in centred]
    return chords(white[: len(first)], white[len(first) :])


@oracle("tico")
def tico(module, views):
    (first, second), targets, own = (
        embeddings(module, views),
        taught(module, views),
        module.settings,
    )
    old = module.covariance.numpy()

    def direction(z, target):
        rows = [unit(row) for row in z]
        now = own.memory * old + (1 - own.memory) * sum(np.outer(r, r) for r in rows) / len(rows)
        agreement = mean([1 - cosine(a, b) for a, b in zip(rows, target, strict=True)])
        return agreement + own.contrast * mean([float(r @ now @ r) for r in rows])

    return (direction(first, targets[1]) + direction(second, targets[0])) / 2


def many_views(module, views):
    """Embeddings of all views; full and local ones pass the backbone apart, the projector
    together.
    """
    import torch

    parts = [module.backbone(views.images)]
    parts.append(module.backbone(torch.cat([view.images for view in views.local])))
    n = len(views.index)
    z = vectors(module.projector(torch.cat(parts)))
    return [z[i : i + n] for i in range(0, len(z), n)]


def from_centre(every, whole):
    terms = []
    for image in range(len(every[0])):
        centre = sum(view[image] for view in every[:whole]) / whole
        terms += [mean(list((view[image] - centre) ** 2)) for view in every]
    return mean(terms)


@oracle("lejepa")
def lejepa(module, views):
    every, own = many_views(module, views), module.settings
    directions = module.draws.directions(len(every[0][0]), own.directions).double().numpy()
    assert abs(length(directions[:, 0]) - 1) < 1e-6
    knots, statistics = np.linspace(-5, 5, 17), []
    for view in every:
        for direction in directions.T:
            projected = [float(row @ direction) for row in view]
            values = []
            for t in knots:
                gaussian = math.exp(-t * t / 2)
                real = mean([math.cos(t * x) for x in projected]) - gaussian
                imaginary = mean([math.sin(t * x) for x in projected])
                values.append((real**2 + imaginary**2) * gaussian)
            step = knots[1] - knots[0]
            area = sum((values[k] + values[k + 1]) / 2 * step for k in range(len(knots) - 1))
            statistics.append(len(view) * area)
    return (1 - own.gaussian) * from_centre(every, 2) + own.gaussian * mean(statistics)


@oracle("visreg")
def visreg(module, views):
    every, own = many_views(module, views), module.settings
    directions = module.draws.directions(len(every[0][0]), own.directions).double().numpy()
    n = len(every[0])
    quantiles = [NormalDist().inv_cdf((k + 0.5) / n) for k in range(n)]
    scale, shape = [], []
    for view in every:
        columns = np.array(view).T
        deviations = [math.sqrt(float(np.var(column)) + 1e-8) for column in columns]
        scale.append(mean([(1 - deviation) ** 2 for deviation in deviations]))
        rows = standard(view)
        for direction in directions.T:
            ordered = sorted(float(row @ direction) for row in rows)
            shape += [(x - q) ** 2 for x, q in zip(ordered, quantiles, strict=True)]
    weights = own.invariance, own.variance, own.shape
    terms = from_centre(every, 2), mean(scale), mean(shape)
    return sum(w * t for w, t in zip(weights, terms, strict=True)) / sum(weights)
