"""Distilled encoder and labels in, classifier out."""

from __future__ import annotations

from stages.core import paths
from stages.core.events import Tracker
from stages.core.params import Params
from stages.core.stage import stage


@stage("finetune")
def main(params: Params, track: Tracker) -> None:
    """Turn the distilled encoder into a classifier: a linear probe and full fine-tuning on the
    labelled training images, the better of the two on the validation images kept, its confidence
    calibrated there.
    """
    from stages.core import compute
    from stages.core.data.manifest import Manifest
    from stages.core.image.pixel_store import PixelStore
    from stages.core.image.views.geometric import light
    from stages.core.image.views.policy import Policy
    from stages.core.io import write_csv, write_metrics
    from stages.core.metrics.representation import embed
    from stages.core.models.artifact import load_encoder, save_model
    from stages.core.transfer.finetune import (
        Examples,
        Task,
        better,
        finetune_recipe,
        fit_probe,
        full_candidate,
        linear_candidate,
        logits,
    )
    from stages.core.transfer.supervised import cool, labelled, temperature
    from stages.finetune.results import candidates, curve, metrics, resume_for

    compute.deterministic()
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    manifest.validate_against(store)
    rows, labels = labelled(manifest, "train", at_least_classes=2)
    held, held_labels = labelled(manifest, "val")
    encoder, policy = load_encoder(paths.DISTILLED), Policy.read(paths.POLICY)
    train, validation = (
        Examples(store.gather(rows), labels),
        Examples(store.gather(held), held_labels),
    )
    own, gentle = params.finetune, light(policy)
    task = Task(
        train, validation, len(manifest.classes), encoder.preprocess, gentle, own, params.seed
    )
    recipe = finetune_recipe(task)
    print(
        f"finetune: {len(rows):,} labelled images of {task.classes} classes, {recipe.steps} steps,"
        f" {len(held):,} to choose by"
    )
    track.params({"finetune.steps": recipe.steps, "finetune.images": len(rows)})
    track.tags(compute.describe(recipe.precision))

    probe = fit_probe(embed(encoder, store, rows), embed(encoder, store, held), task)
    resume = resume_for(params, encoder, manifest.frame["id"].iloc[rows].tolist())
    linear = linear_candidate(encoder.backbone, probe, task)
    full = full_candidate(
        encoder.backbone, probe, task, pretrained=True, resume=resume, track=track
    )
    picked = better(full, linear)
    before = logits(picked.network, task.preprocess, task.validation.images)
    degrees = temperature(before, held_labels)
    cool(picked.network, degrees)

    config = {
        "method": picked.method,
        "classes": manifest.classes,
        "encoder": encoder.config,
        "temperature": float(f"{degrees:.6g}"),
    }
    save_model(
        paths.FINETUNED,
        picked.network,
        {**config, "steps": recipe.steps, "labelled_images": len(rows)},
        task.preprocess,
    )
    values = metrics(linear, full, picked, before, held_labels, degrees, task)
    write_metrics(paths.metrics("finetune"), values)
    write_csv(paths.reports("finetune") / "curve.csv", *curve(full.history))
    write_csv(paths.reports("finetune") / "candidates.csv", *candidates(linear, full, picked))
    resume.clear()
    track.metrics({name: value for name, value in values.items() if isinstance(value, float)})
    print(
        f"finetune: linear probe {linear.accuracy:.3f}, fully fine-tuned {full.accuracy:.3f} on"
        f" validation; kept {picked.method}"
    )


if __name__ == "__main__":
    main()
