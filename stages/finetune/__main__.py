"""Encoders and labels in, classifier out: ``python -m stages.finetune``."""

from __future__ import annotations

from stages.core import paths
from stages.core.events import Tracker
from stages.core.params import Params
from stages.core.stage import stage


@stage("finetune")
def main(params: Params, track: Tracker) -> None:
    """Train classifiers from the labels: a linear probe and full fine-tuning of every encoder, and
    labels alone.

    The best on the validation images is kept, its confidence calibrated there. Killed at any step,
    the same command goes on from the last checkpoint.
    """
    from dataclasses import asdict

    from stages.core import compute
    from stages.core.budget import resolve_budget
    from stages.core.data.manifest import Manifest
    from stages.core.image.pixel_store import PixelStore
    from stages.core.image.views.policy import Policy
    from stages.core.io import write_csv, write_metrics
    from stages.core.models.artifact import save_model
    from stages.finetune.finetune import finetune, sentence
    from stages.finetune.inputs import (
        assemble,
        encoders_to_use,
        features_of,
        unlabelled_images,
        untrained,
    )
    from stages.finetune.results import candidates, curve, metrics, resume_for
    from stages.finetune.tuning import Trials

    compute.deterministic()
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    manifest.validate_against(store)
    encoders, start = encoders_to_use(params.finetune.candidates), untrained(params.seed)
    task, rows = assemble(params, manifest, store, Policy.read(paths.POLICY), start.preprocess)
    print(
        f"finetune: {len(task.train):,} labelled images of {task.classes} classes,"
        f" {task.steps:,} steps, {len(task.validation):,} to choose by"
    )
    track.params({"finetune.steps": task.steps, "finetune.images": len(task.train)})
    track.tags(compute.describe(params.finetune.precision))

    ids = manifest.frame["id"].iloc[rows].tolist()
    unlabelled = unlabelled_images(manifest, store, params.seed)
    trials = Trials(resume_for(params, {**encoders, "start": start}, ids), track)
    features = {
        name: (encoder.backbone, features_of(encoder, task, unlabelled))
        for name, encoder in encoders.items()
    }
    found = finetune(
        task, features, start.backbone, resolve_budget(params.budget, task.preprocess.size), trials
    )

    shared = {
        "classes": manifest.classes,
        "labelled_images": len(task.train),
        "tuned": asdict(found.tuned),
    }
    encoder = encoders[found.picked.encoder].config if found.picked.encoder else None
    own = {
        "method": found.picked.method,
        "encoder": encoder,
        "encoder_name": found.picked.encoder,
        "temperature": float(f"{found.temperature:.6g}"),
    }
    save_model(paths.FINETUNED, found.picked.network, {**shared, **own}, task.preprocess)
    save_model(
        paths.SCRATCH, found.scratch.network, {**shared, "method": "scratch"}, task.preprocess
    )
    values = metrics(found, task)
    write_metrics(paths.metrics("finetune"), values)
    write_csv(paths.reports("finetune") / "curve.csv", *curve(found.picked.history))
    write_csv(paths.reports("finetune") / "candidates.csv", *candidates(found, trials.tried))
    trials.clear()
    track.metrics({name: value for name, value in values.items() if isinstance(value, float)})
    print(f"finetune: {sentence(found)}")


if __name__ == "__main__":
    main()
