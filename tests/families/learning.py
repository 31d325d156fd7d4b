"""Short runs of objectives on digits: what their features are worth, what they log as they
collapse.
"""

from __future__ import annotations

import torch
from sklearn.linear_model import LogisticRegression

from stages.core.losses.regression import squared_chord
from stages.core.training.assignment import Centre
from stages.pretrain.method import Method, method_class
from stages.pretrain.methods import simsiam, swav
from tests.families.objectives import batches_of, module_of, settings_of
from tests.pretrain.pretraining import Interrupted, quick, run, small_data

DIGITS = small_data(1000)


def learned(name, backbone, settings=None):
    """A short run on 600 digits, half of them with a label."""
    epochs = 16 if method_class(name).kind == "masked" else 8
    params = quick(
        pretrain__backbone=backbone,
        pretrain__epochs=epochs,
        pretrain__batch_size=64,
        pretrain__probe_every=epochs,
        pretrain__checkpoint_every=1000,
        pretrain__precision="fp32",
        pretrain__learning_rate=0.002,
    )
    return run(params, name, DIGITS, settings)


def score(trained):
    """Accuracy of kNN on pooled features; of a transformer, of a linear probe on its mean token."""
    if "knn" in trained.metrics and not hasattr(trained.backbone.body, "patch_embed"):
        return trained.metrics["knn"]
    sets = [DIGITS.manifest.labelled_rows(split) for split in ("train", "val")]
    features = []
    with torch.no_grad():
        for rows in sets:
            images = DIGITS.preprocess.normalise(DIGITS.store.gather(rows).float() / 255)
            features.append(trained.backbone.eval().tokens(images).mean(dim=1).numpy())
    labels = [DIGITS.manifest.labels(rows) for rows in sets]
    scale = features[0].std()
    probe = LogisticRegression(max_iter=500).fit(features[0] / scale, labels[0])
    return probe.score(features[1] / scale, labels[1])


def unused(centre):
    """A centre that never moves."""
    centre.held.clear()


BROKEN = {
    "vicreg": ("projection_scale", {"variance": 0.0, "covariance": 0.0}, None),
    "visreg": ("projection_scale", {"variance": 0.0, "shape": 0.0}, None),
    "lejepa": ("projection_scale", {"gaussian": 0.0}, None),
    "tico": ("projection_std", {"contrast": 0.0, "momentum": 0.0}, None),
    "simsiam": ("projection_std", {}, (simsiam, "normalised_mse", squared_chord)),
    "dino": ("assignment_entropy", {}, (Centre, "advance", unused)),
    "swav": (
        "assignment_entropy",
        {},
        (swav, "sinkhorn", lambda z, t, _: (z.detach() / t).softmax(1)),
    ),
    "msn": ("assignment_entropy", {"mean_entropy": 0.0}, None),
}
"""What prevents collapse is taken away: the signal that must fall, settings, or what is replaced.
"""


def signals(name, settings, steps=60):
    """What is logged at the end of a short run without probes."""
    small = None if "tokens" in method_class(name).needs else "test_efficientnet"
    module = module_of(name, DIGITS, settings_of(name, settings), torch.float32, small)
    batches = batches_of(module, DIGITS, 48)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.005)
    for step in range(steps):
        losses = module(batches(step, slice(0, 48)))
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        module.after_step(step / steps)
    return {key: float(value) for key, value in losses.items()}


def stopping(name: str, at: int) -> type[Method]:
    """The objective, giving up while a step is computed."""
    seen = []

    class Stopping(method_class(name)):
        def forward(self, views):
            seen.append(1)
            if len(seen) == at:
                raise Interrupted
            return super().forward(views)

    return Stopping
