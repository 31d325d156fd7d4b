"""Dense objectives, place by place."""

from __future__ import annotations

import math

import numpy as np

from tests.families.oracles.clustering import centred, scores
from tests.families.oracles.contrastive import against_queue
from tests.families.oracles.naive import (
    cosine,
    length,
    log_softmax,
    mean,
    oracle,
    soft,
    softmax,
    unit,
    vectors,
)


@oracle("densecl")
def densecl(module, views):
    own = module.settings

    def levels(images, backbone, projector, dense):
        pooled, maps = backbone.features_and_maps(images)
        n, channels, height, width = maps[-1].shape
        grid = [
            [maps[-1][i, :, y, x] for y in range(height) for x in range(width)] for i in range(n)
        ]
        flat = dense(maps[-1].permute(0, 2, 3, 1).reshape(-1, channels))
        places = [vectors(flat[i * len(grid[0]) : (i + 1) * len(grid[0])]) for i in range(n)]
        return (
            vectors(projector(pooled)),
            [[vectors(p[None])[0] for p in row] for row in grid],
            places,
        )

    query = levels(views.whole[0].images, module.backbone, module.projector, module.dense)
    key = levels(views.whole[1].images, *module.teacher)
    whole = against_queue(query[0], key[0], vectors(module.queues[0].rows), own.temperature)
    queries, keys = [], []
    for image in range(len(query[0])):
        for place, feature in enumerate(query[1][image]):
            near = [cosine(feature, other) for other in key[1][image]]
            queries.append(query[2][image][place])
            keys.append(key[2][image][near.index(max(near))])
    local = against_queue(queries, keys, vectors(module.queues[1].rows), own.temperature)
    assert length(queries[0]) > 0
    return (1 - own.dense) * whole + own.dense * local


def where(view, y, x):
    """The pixel of the image, from its centre, that a point of a view (0 to 1) was read from."""
    n = len(view.warp.box)
    half = view.images.shape[-1] / 2
    points = []
    for image in range(n):
        top, left, height, width = view.warp.box[image].tolist()
        down, across = view.warp.mirrored[image].tolist()
        py = top + (1 - y if down else y) * height - half
        px = left + (1 - x if across else x) * width - half
        matrix = view.warp.matrix[image].double().numpy()
        points.append(matrix @ np.array([px, py, 1.0]))
    return points


def same_place(first, second, cells):
    """The place of the second view that shows each place of the first; None where it shows none.

    Where a view reads is an affine map of the place: three points of it give its inverse.
    """
    found = [[None] * cells**2 for _ in first.warp.box]
    corner, down, across = (where(second, *point) for point in ((0, 0), (1, 0), (0, 1)))
    for place in range(cells**2):
        own = where(first, (place // cells + 0.5) / cells, (place % cells + 0.5) / cells)
        for image, point in enumerate(own):
            axes = np.stack([down[image] - corner[image], across[image] - corner[image]], axis=1)
            y, x = np.linalg.solve(axes, point - corner[image])
            if 0 <= y < 1 and 0 <= x < 1:
                found[image][place] = int(y * cells) * cells + int(x * cells)
    return found


@oracle("slotcon")
def slotcon(module, views):
    own = module.settings

    def grouped(backbone, projector, prototypes):
        maps = backbone.features_and_maps(views.images)[1][-1]
        cells = maps.shape[-1]
        flat = vectors(projector(maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])))
        rows = scores(flat, prototypes)
        size = cells**2
        cut = range(0, len(flat), size)
        return cells, [flat[i : i + size] for i in cut], [rows[i : i + size] for i in cut]

    cells, z, score = grouped(module.backbone, module.projector, module.prototypes)
    _, keys, taught = grouped(*module.teacher)
    guess = [
        [softmax([x / own.student_temperature for x in row]) for row in rows] for rows in score
    ]
    target = [centred(rows, module.centre, own.teacher_temperature) for rows in taught]
    k, n = len(guess[0][0]), len(z) // 2

    def pooled(places, assignment):
        return [
            unit(sum(a[s] * p for a, p in zip(assignment, places, strict=True))) for s in range(k)
        ]

    def winners(assignment):
        return {row.index(max(row)) for row in assignment}

    found = [pooled(p, a) for p, a in zip(z, guess, strict=True)]
    import torch

    flat = torch.tensor(np.array([slot for image in found for slot in image]))
    predicted = vectors(module.predictor(flat))
    predicted = [predicted[i : i + k] for i in range(0, len(predicted), k)]
    key = [pooled(p, a) for p, a in zip(keys, target, strict=True)]
    losses = []
    for view in (0, 1):
        one, other = view * n, (1 - view) * n
        places = same_place(views.whole[view], views.whole[1 - view], cells)
        group, contrast = [], []
        every = [(i, s) for i in range(n) for s in sorted(winners(target[other + i]))]
        for i in range(n):
            for place, partner in enumerate(places[i]):
                if partner is not None:
                    logits = [x / own.student_temperature for x in score[one + i][place]]
                    group.append(soft(logits, target[other + i][partner]))
            for s in winners(guess[one + i]) & winners(target[other + i]):
                logits = [
                    cosine(predicted[one + i][s], key[other + j][t]) / own.temperature
                    for j, t in every
                ]
                contrast.append(-log_softmax(logits)[every.index((i, s))])
        losses.append(own.grouping * mean(group) + (1 - own.grouping) * mean(contrast))
    assert math.isfinite(losses[0])
    return mean(losses)
