"""Do new images look like what the champion was trained on? Drift tests on its features, images
unlike any seen, an alarm.

New images are a folder, or by default the last ones ``rootstock predict`` was asked about. Above
the thresholds of ``params.yaml`` the event ``rootstock.drift`` is emitted, which a Prefect
automation can act on, and with ``monitor.retrain`` the pipeline runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.adapters.prefect import events
from flows.monitoring.features import (
    Array,
    files,
    pixels_of_files,
    training_features,
    weights_of,
)
from flows.monitoring.report import DriftCheck, report
from stages.core.metrics.drift import detect_drift
from stages.core.metrics.representation import normalise
from stages.core.params import load_params
from stages.core.random import numpy_generator
from stages.core.sections import Monitor

EVENT = "rootstock.drift"
UNLIKE = 0.99
"""An image is unknown when its distance to the nearest training image is beyond this share of the
training images' own.
"""


def check(root: Path, images: Path | None) -> DriftCheck:
    """Compare new images with the training images through the champion's eyes; report, emit, and
    retrain as configured.

    Raises:
        ConfigError: there is no champion, or nothing to look at.
    """
    from flows.adapters.mlflow.store import Store
    from flows.registry import versions
    from stages.core.models.batch_inference import features_of_images

    params = load_params()
    champion = versions.resolve(Store.open(), f"{versions.CLASSIFIER}@{versions.CHAMPION}")
    pixels, unreadable = pixels_of_files(
        champion.folder, files(images, root, params.monitor.max_images), params
    )
    new, reference = (
        features_of_images(weights_of(champion.folder), pixels),
        training_features(champion, root, params),
    )
    found = judge(
        reference,
        new,
        params.monitor,
        params.seed,
        f"{champion.name} version {champion.number}",
        unreadable,
    )
    report(found, root, pixels[unknown(reference, new, params.seed)])
    announce(found, champion.number)
    retrain(found, params.monitor)
    return found


def retrain(found: DriftCheck, monitor: Monitor) -> bool:
    """After an alarm, where ``monitor.retrain`` says so, run the pipeline on the sources as they
    are now; whether it did.

    Raises:
        RootstockError: the pipeline failed, or a gate refused what came of it.
    """
    if not (found.alarm and monitor.retrain):
        return False
    from flows.pipeline.flow import run_pipeline
    from flows.pipeline.request import RunRequest

    result = run_pipeline(RunRequest())
    if result.run.failure:
        raise result.run.failure
    if result.promotion:
        result.promotion.check()
    return True


def judge(
    reference: Array, new: Array, monitor: Monitor, seed: int, champion: str, unreadable: int = 0
) -> DriftCheck:
    """The decision, from features (n, D) of training images and (m, D) of new ones. The first half
    of the alarm budget is the drift tests'; the share of unknown images is a threshold of its own,
    tested against chance with the other half.
    """
    from scipy.stats import binomtest

    drift = detect_drift(
        reference,
        new,
        alpha=monitor.alpha / 2,
        threshold=monitor.threshold,
        seed=seed,
        neighbours=monitor.neighbours,
        sample=monitor.max_images,
    )
    strange = unknown(reference, new, seed)
    beyond = (
        binomtest(
            int(strange.sum()), len(strange), monitor.max_unknown, alternative="greater"
        ).pvalue
        <= monitor.alpha / 2
    )
    reasons = (*(["drift"] if drift.drifted else []), *(["unknown images"] if beyond else []))
    return DriftCheck(drift, float(strange.mean()), unreadable, champion, bool(reasons), reasons)


def unknown(reference: Array, new: Array, seed: int) -> NDArray[np.bool_]:
    """Which new images (m,) are farther from every training image than 99 % of held-out training
    images are.

    By the distance of their features, or of the directions these point in, which tells unseen
    classes better: Out-of-Distribution Detection with Deep Nearest Neighbors (2022). Each has half
    of the hundredth.
    """
    from sklearn.neighbors import NearestNeighbors

    centre, scale = (
        reference.mean(axis=0),
        np.where(reference.std(axis=0) > 0, reference.std(axis=0), 1.0),
    )
    old, asked = (reference - centre) / scale, (new - centre) / scale
    order = numpy_generator(seed, "unknown", len(old)).permutation(len(old))
    held, kept = order[: len(order) // 2], order[len(order) // 2 :]
    found = np.zeros(len(new), dtype=bool)
    for known, others in ((old, asked), (normalise(old), normalise(asked))):
        finder = NearestNeighbors(n_neighbors=1).fit(known[kept])
        limit = np.quantile(finder.kneighbors(known[held])[0][:, 0], (1 + UNLIKE) / 2)
        found |= finder.kneighbors(others)[0][:, 0] > limit
    return found


def announce(found: DriftCheck, version: str) -> None:
    """The event; a quiet check emits one too, so that silence can be noticed."""
    payload = {"sentence": found.sentence, "unknown": found.unknown, "alarm": found.alarm}
    resource = {"prefect.resource.id": "rootstock.champion", "rootstock.version": version}
    events.emit(EVENT if found.alarm else f"{EVENT}.quiet", resource, payload)
