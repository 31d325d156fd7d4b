"""Pretext tasks and controls, image by image."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests.families.oracles.contrastive import nt_xent
from tests.families.oracles.naive import cosine, embeddings, mean, oracle, pick, vectors


def turned(images, quarters):
    """Each image turned by its own number of quarters."""
    done = [np.rot90(images[i].numpy(), k, (1, 2)).copy() for i, k in enumerate(quarters)]
    return torch.from_numpy(np.stack(done)).to(images.dtype)


def picks(logits, targets):
    rows = logits.detach().tolist()
    return mean([pick(row, target) for row, target in zip(rows, targets, strict=True)])


@oracle("rotation")
def rotation(module, views):
    quarters = [math.floor(4 * float(u)) for u in views.chances[:, 0]]
    return picks(module.classifier(module.backbone(turned(views.images, quarters))), quarters)


@oracle("essl")
def essl(module, views):
    quarters = [math.floor(4 * float(u)) for u in views.chances[:, 0]]
    contrast = nt_xent(*embeddings(module, views), module.settings.temperature)
    logits = module.classifier(module.backbone(turned(views.whole[0].images, quarters)))
    return contrast + module.settings.rotation * picks(logits, quarters)


@oracle("pirl")
def pirl(module, views):
    own, half = module.settings, views.images.shape[-1] // 2
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    cut = torch.stack(
        [image[:, y : y + half, x : x + half] for image in views.images for y, x in corners]
    )
    features = module.backbone(cut).reshape(len(views.images), 4, -1)
    joined = []
    for image, chances in enumerate(views.chances.tolist()):
        order = sorted(range(4), key=lambda place: chances[place])
        joined.append(torch.cat([features[image, place] for place in order]))
    bank = vectors(module.bank.rows)

    def found(z):
        scores = [[cosine(row, other) / own.temperature for other in bank] for row in vectors(z)]
        return mean([pick(row, i) for row, i in zip(scores, views.index.tolist(), strict=True)])

    whole = found(module.projector(module.backbone(views.images)))
    return (1 - own.jigsaw) * whole + own.jigsaw * found(module.joiner(torch.stack(joined)))


@oracle("relational")
def relational(module, views):
    features = module.backbone(views.images)
    n = len(features) // 2
    pairs = [torch.cat([features[i], features[n + i]]) for i in range(n)]
    pairs += [torch.cat([features[i], features[n + (i - 1) % n]]) for i in range(n)]
    scores = module.relation(torch.stack(pairs)).squeeze(1).tolist()
    chance = [1 / (1 + math.exp(-score)) for score in scores]
    return (
        -(mean([math.log(p) for p in chance[:n]]) + mean([math.log(1 - p) for p in chance[n:]])) / 2
    )


def labelled(logits, labels):
    rows = logits.detach().tolist()
    terms = [pick(row, label) for row, label in zip(rows, labels, strict=True) if label >= 0]
    return sum(terms) / max(1, len(terms))


@oracle("supervised")
def supervised(module, views):
    labels = module.labels[views.index].tolist()
    assert min(labels) == -1, "the batch is to hold images without a label, too"
    return labelled(module.classifier(module.projector(module.backbone(views.images))), labels)


@oracle("lorot")
def lorot(module, views):
    images, half = views.images.clone(), views.images.shape[-1] // 2
    classes = []
    for i, (where, turn) in enumerate(views.chances.tolist()):
        quadrant, quarters = math.floor(4 * where), math.floor(4 * turn)
        y, x = quadrant // 2 * half, quadrant % 2 * half
        patch = images[i, :, y : y + half, x : x + half].clone()
        images[i, :, y : y + half, x : x + half] = patch.rot90(quarters, (1, 2))
        classes.append(4 * quadrant + quarters)
    features = module.backbone(images)
    label = labelled(module.classifier(features), module.labels[views.index].tolist())
    return label + module.settings.rotation * picks(module.pretext(features), classes)


@oracle("random")
def random(module, views):
    return 0.0
