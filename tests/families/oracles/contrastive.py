"""Contrastive objectives, image by image."""

from __future__ import annotations

import math

from tests.families.oracles.naive import (
    cosine,
    embeddings,
    mean,
    oracle,
    pick,
    predictions,
    soft,
    softmax,
    taught,
    vectors,
)


def nt_xent(first, second, temperature, decoupled=False):
    rows, n, terms = [*first, *second], len(first), []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [k for k in range(2 * n) if k != i and not (decoupled and k == j)]
        below = sum(math.exp(cosine(rows[i], rows[k]) / temperature) for k in others)
        terms.append(-math.log(math.exp(cosine(rows[i], rows[j]) / temperature) / below))
    return mean(terms)


@oracle("simclr")
def simclr(module, views):
    return nt_xent(*embeddings(module, views), module.settings.temperature)


@oracle("dcl")
def dcl(module, views):
    return nt_xent(*embeddings(module, views), module.settings.temperature, decoupled=True)


def against_queue(queries, keys, queue, temperature):
    terms = []
    for query, key in zip(queries, keys, strict=True):
        scores = [cosine(query, key), *(cosine(query, row) for row in queue)]
        terms.append(pick([score / temperature for score in scores], 0))
    return mean(terms)


@oracle("moco_v2")
def moco_v2(module, views):
    (first, second), keys = embeddings(module, views), taught(module, views)
    queue, temperature = vectors(module.queue.rows), module.settings.temperature
    there = against_queue(first, keys[1], queue, temperature)
    return (there + against_queue(second, keys[0], queue, temperature)) / 2


def in_batch(queries, keys, temperature):
    return mean(
        [
            pick([cosine(query, key) / temperature for key in keys], i)
            for i, query in enumerate(queries)
        ]
    )


@oracle("moco_v3")
def moco_v3(module, views):
    (first, second), keys = predictions(module, views), taught(module, views)
    t = module.settings.temperature
    return t * (in_batch(first, keys[1], t) + in_batch(second, keys[0], t))


@oracle("nnclr")
def nnclr(module, views):
    (first, second), predicted = embeddings(module, views), predictions(module, views)
    queue, t = vectors(module.queue.rows), module.settings.temperature

    def neighbour(z):
        return max(queue, key=lambda row: cosine(z, row))

    there = in_batch([neighbour(z) for z in first], predicted[1], t)
    return (there + in_batch([neighbour(z) for z in second], predicted[0], t)) / 2


@oracle("supcon")
def supcon(module, views):
    first, second = embeddings(module, views)
    labels = module.labels[views.index].tolist() * 2
    rows, n, t, terms = [*first, *second], len(first), module.settings.temperature, []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        below = math.log(sum(math.exp(cosine(rows[i], rows[k]) / t) for k in others))
        positive = [k for k in others if k % n == i % n or (labels[k] == labels[i] >= 0)]
        terms.append(-mean([cosine(rows[i], rows[k]) / t - below for k in positive]))
    return mean(terms)


@oracle("instance")
def instance(module, views):
    features, prototypes = vectors(module.backbone(views.images)), vectors(module.classifier.weight)
    index, t = views.index.tolist() * 2, module.settings.temperature
    scores = [[cosine(row, other) / t for other in prototypes] for row in features]
    return mean([pick(row, i) for row, i in zip(scores, index, strict=True)])


@oracle("instance_bank")
def instance_bank(module, views):
    z, t = vectors(module.projector(module.backbone(views.images))), module.settings.temperature
    bank = vectors(module.bank.rows)
    scores = [[cosine(row, other) / t for other in bank] for row in z]
    return mean([pick(row, i) for row, i in zip(scores, views.index.tolist(), strict=True)])


@oracle("soft_contrastive")
def soft_contrastive(module, views):
    (first, second), keys, own = embeddings(module, views), taught(module, views), module.settings
    queue = vectors(module.queue.rows)

    def direction(queries, keys):
        terms = []
        for query, key in zip(queries, keys, strict=True):
            relation = softmax([cosine(key, row) / own.sharpened for row in queue])
            entropy = -sum(q * math.log(q + 1e-12) for q in relation)
            confidence = 1 - entropy / math.log(len(queue))
            target = [1.0, *(min(1.0, confidence * own.neighbours * q) for q in relation)]
            target = [value / sum(target) for value in target]
            scores = [cosine(query, key), *(cosine(query, row) for row in queue)]
            terms.append(soft([score / own.temperature for score in scores], target))
        return mean(terms)

    return (direction(first, keys[1]) + direction(second, keys[0])) / 2


@oracle("individual_temperature")
def individual_temperature(module, views):
    first, second = embeddings(module, views)
    rows, n, own, terms = [*first, *second], len(first), module.settings, []
    for image in range(n):
        tau = float(module.temperatures[views.index[image]])
        old, sums = float(module.level[views.index[image]]), []
        for i in (image, image + n):
            positive = cosine(rows[i], rows[(i + n) % (2 * n)])
            negatives = [cosine(rows[i], rows[k]) for k in range(2 * n) if k % n != image]
            sums.append(mean([math.exp((s - positive) / tau) for s in negatives]))
        level = own.memory * old + (1 - own.memory) * mean(sums) if old > 0 else mean(sums)
        terms.append(tau * (math.log(level) + own.radius))
    return mean(terms)


@oracle("mutual_information")
def mutual_information(module, views):
    first, second = embeddings(module, views)
    n, t = len(first), module.settings.temperature
    f = [[cosine(a, b) / t for b in second] for a in first]
    apart = [f[i][j] for i in range(n) for j in range(n) if i != j]
    if module.settings.bound == "infonce":
        bound = mean(
            [math.log(math.exp(f[i][i]) / mean([math.exp(s) for s in f[i]])) for i in range(n)]
        )
    elif module.settings.bound == "nwj":
        bound = mean([f[i][i] for i in range(n)]) - mean([math.exp(s) for s in apart]) / math.e
    else:
        joint = mean([-math.log(1 + math.exp(-f[i][i])) for i in range(n)])
        bound = joint - mean([math.log(1 + math.exp(s)) for s in apart])
    return -bound
