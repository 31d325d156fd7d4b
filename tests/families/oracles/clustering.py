"""Clustering objectives, prototype by prototype."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests.families.oracles.naive import (
    cosine,
    embeddings,
    length,
    mean,
    oracle,
    pick,
    soft,
    softmax,
    vectors,
)


def scores(z, prototypes):
    """Cosine similarities of each vector to each prototype."""
    weights = vectors(prototypes.weight)
    return [[cosine(row, weight) for weight in weights] for row in z]


def fill_equally(rows, temperature, rounds):
    """Sinkhorn-Knopp on a list of score lists."""
    plan = [[math.exp(score / temperature) for score in row] for row in rows]
    n, k = len(rows), len(rows[0])
    for _ in range(rounds):
        for j in range(k):
            column = sum(plan[i][j] for i in range(n))
            for i in range(n):
                plan[i][j] /= column * k
        for i in range(n):
            total = sum(plan[i])
            plan[i] = [value / total / n for value in plan[i]]
    return [[value * n for value in row] for row in plan]


def across(students, targets, temperature):
    """Every target view with every other student view."""
    terms = []
    for t, target in enumerate(targets):
        for s, student in enumerate(students):
            if s != t:
                pairs = zip(student, target, strict=True)
                terms.append(mean([soft([x / temperature for x in a], b) for a, b in pairs]))
    return mean(terms)


def halves(rows):
    return [rows[: len(rows) // 2], rows[len(rows) // 2 :]]


def crops(module, views, projector, prototypes, whole=None):
    """The student's scores of every crop; all crops pass the projector together."""
    parts = [module.backbone(views.images) if whole is None else whole]
    parts.append(module.backbone(torch.cat([view.images for view in views.local])))
    found, n = scores(vectors(projector(torch.cat(parts))), prototypes), len(views.index)
    return [found[i : i + n] for i in range(0, len(found), n)]


@oracle("swav")
def swav(module, views):
    own = module.settings
    students = crops(module, views, module.projector, module.prototypes)
    codes = [fill_equally(rows, own.sharpness, own.iterations) for rows in students[:2]]
    return across(students, codes, own.temperature)


@oracle("deepcluster_v2")
def deepcluster_v2(module, views):
    first, second = embeddings(module, views)
    centroids, t = vectors(module.centroids), module.settings.temperature
    terms = []
    for view in (first, second):
        for row, image in zip(view, views.index.tolist(), strict=True):
            member = int(module.labels[image])
            terms.append(pick([cosine(row, c) / t for c in centroids], member))
    return mean(terms)


def centred(rows, centre, temperature):
    centre = centre.mean.tolist()
    return [
        softmax([(x - c) / temperature for x, c in zip(row, centre, strict=True)]) for row in rows
    ]


@oracle("dino")
def dino(module, views):
    own = module.settings
    students = crops(module, views, module.projector, module.prototypes)
    backbone, projector, prototypes = module.teacher
    taught = scores(vectors(projector(backbone(views.images))), prototypes)
    targets = halves(centred(taught, module.centre, own.teacher_temperature))
    return across(students, targets, own.temperature)


@oracle("msn")
def msn(module, views):
    own, seen = module.settings, []
    for view in views.whole:
        cells = view.mask.flatten(1).tolist()
        keep = [[place for place, gone in enumerate(row) if not gone] for row in cells]
        seen.append(module.backbone.features_and_tokens(view.images, torch.tensor(keep))[0])
    z = vectors(module.projector(torch.cat(seen)))
    student = scores(z, module.prototypes)
    first, second = halves(vectors(module.teacher(views.images)))
    taught = scores([*second, *first], module.prototypes)
    targets = [softmax([x / own.sharpness for x in row]) for row in taught]
    pairs = zip(student, targets, strict=True)
    match = mean([soft([x / own.temperature for x in a], b) for a, b in pairs])
    guesses = [softmax([x / own.temperature for x in row]) for row in student]
    average = [mean([row[k] for row in guesses]) for k in range(len(guesses[0]))]
    return match + own.mean_entropy * sum(p * math.log(p + 1e-12) for p in average)


def tokens(z, projector, prototypes):
    """Scores of every patch of every image."""
    flat = scores(vectors(projector(z.reshape(-1, z.shape[-1]))), prototypes)
    return [flat[i : i + z.shape[1]] for i in range(0, len(flat), z.shape[1])]


def hidden_patches(student, target, masks, temperature):
    images = []
    for image, mask in enumerate(masks):
        places = [place for place, gone in enumerate(mask) if gone]
        terms = [
            soft([x / temperature for x in student[image][place]], target[image][place])
            for place in places
        ]
        images.append(sum(terms) / max(1, len(places)))
    return mean(images)


@oracle("ibot")
def ibot(module, views):
    own = module.settings
    mask = torch.cat([view.mask.flatten(1) for view in views.whole])
    pooled, patches = module.backbone.features_and_tokens(
        views.images, hidden=mask, mask_token=module.mask_token
    )
    backbone, projector, prototypes = module.teacher
    seen, every = backbone.features_and_tokens(views.images)
    image = scores(vectors(projector(seen)), prototypes)
    image = halves(centred(image, module.centres[0], own.teacher_temperature))
    student = halves(scores(vectors(module.projector(pooled)), module.prototypes))
    whole = across(student, image, own.temperature)
    target = [
        centred(rows, module.centres[1], own.teacher_temperature)
        for rows in tokens(every, projector, prototypes)
    ]
    found = tokens(patches, module.projector, module.prototypes)
    return (whole + hidden_patches(found, target, mask.tolist(), own.temperature)) / 2


@oracle("dinov2")
def dinov2(module, views):
    own, (image_head, patch_head) = module.settings, module.heads
    mask = torch.cat([view.mask.flatten(1) for view in views.whole])
    pooled, patches = module.backbone.features_and_tokens(
        views.images, hidden=mask, mask_token=module.mask_token
    )
    students = crops(module, views, *image_head, whole=pooled)
    backbone, image_teacher, patch_teacher = module.teacher
    seen, every = backbone.features_and_tokens(views.images)
    taught = halves(scores(vectors(image_teacher[0](seen)), image_teacher[1]))
    targets = [fill_equally(rows, own.teacher_temperature, 3) for rows in taught]
    match = across(students, targets, own.temperature)
    rows = tokens(every, *patch_teacher)
    flat = fill_equally([row for image in rows for row in image], own.teacher_temperature, 3)
    target = [flat[i : i + len(rows[0])] for i in range(0, len(flat), len(rows[0]))]
    found = tokens(patches, *patch_head)
    local = hidden_patches(found, target, mask.tolist(), own.temperature)
    apart = mean([spread(half) for half in halves(vectors(pooled))])
    return match + local + own.spread * apart


def spread(z):
    rows = [row / length(row) for row in z]
    terms = []
    for i, row in enumerate(rows):
        others = [float(row @ other) if j != i else -2.0 for j, other in enumerate(rows)]
        nearest = rows[others.index(max(others))]
        terms.append(-math.log(float(np.linalg.norm(row - nearest)) + 1e-8))
    return mean(terms)
