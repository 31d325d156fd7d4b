"""Pretrained encoder and unlabelled images in, an encoder at most half its size out."""

from __future__ import annotations

from stages.core import paths
from stages.core.events import Tracker
from stages.core.params import Params
from stages.core.stage import stage


@stage("distill")
def main(params: Params, track: Tracker) -> None:
    """Teach a network at most half the size of the pretrained encoder to give the same features, on
    unlabelled images.

    Killed at any step, the same command goes on from the last checkpoint and ends with the same
    bytes.
    """
    from stages.core import compute
    from stages.core.data.manifest import Manifest
    from stages.core.image.pixel_store import PixelStore
    from stages.core.image.views.policy import Policy
    from stages.core.io import write_csv, write_metrics
    from stages.core.models.artifact import Encoder, load_encoder, save_model
    from stages.core.training.loop import fit
    from stages.distill.inputs import batches, create_module, create_student, recipe, resume_for
    from stages.distill.results import curve, loss_of, metrics, pass_on
    from stages.distill.teacher import load_teacher

    compute.deterministic()
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    manifest.validate_against(store)
    pretrained, policy = load_encoder(paths.PRETRAINED), Policy.read(paths.POLICY)
    if params.distill.backbone is None:
        pass_on(pretrained, {"why": "distill.backbone is null"})
        print("distill: distill.backbone is null, the pretrained encoder goes on as it is")
        return
    teacher = load_teacher(params, pretrained)
    student = create_student(params.distill.backbone, params.seed, pretrained, teacher)
    source = batches(params, manifest, store, policy, pretrained.preprocess)
    plan = recipe(params, source)
    shrunk = (
        f"{student.parameter_count:,} parameters instead of {teacher.backbone.parameter_count:,}"
    )
    print(f"distill: {student.name}, {shrunk}, {plan.steps:,} steps of {source.size} images")
    track.params({"distill.batch_size": source.size, "distill.steps": plan.steps})
    track.tags(compute.describe(plan.precision))

    resume = resume_for(params, source, teacher, policy)
    module = create_module(params, student, pretrained.preprocess, teacher)
    history = fit(module, source, plan, resume, track)
    encoder = Encoder(student, pretrained.preprocess, {})
    values = metrics(encoder, teacher, manifest, store, history)
    lost = loss_of(encoder, pretrained, manifest, store, params.seed)
    if lost is not None:
        values["knn_difference"] = lost.as_dict()
    if lost is not None and lost.high < 0 and not params.distill.required:
        why = (
            f"the student loses {-100 * lost.value:.1f} points of kNN accuracy on validation (95 %"
            f" interval {-100 * lost.high:.1f} to {-100 * lost.low:.1f})"
        )
        pass_on(pretrained, {**values, "kept": "teacher", "why": why}, curve(history))
        resume.clear()
        print(
            f"distill: {why}, so the pretrained encoder goes on; distill.required=true keeps the"
            " student"
        )
        return
    values["kept"] = "student"
    config = {
        "method": params.distill.method,
        "settings": module.settings.model_dump(mode="json"),
        "teacher": teacher.config,
        "steps": plan.steps,
        "batch_size": source.size,
        "student": True,
    }
    save_model(paths.DISTILLED, student, config, pretrained.preprocess)
    write_metrics(paths.metrics("distill"), values)
    write_csv(paths.reports("distill") / "curve.csv", *curve(history))
    resume.clear()
    track.metrics({name: value for name, value in values.items() if isinstance(value, float)})
    compared = (
        ""
        if values["knn"] is None
        else f"kNN {values['knn']:.3f} (teacher {values['teacher_knn']:.3f}), "
    )
    print(f"distill: {compared}{values['r2']:.0%} of the teacher's features explained")


if __name__ == "__main__":
    main()
