"""What a distillation run is made of, resolved from the parameters and sized to the data."""

from __future__ import annotations

from stages.core.data.manifest import Manifest
from stages.core.image.backbones import Backbone, check_size, create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.engine import ViewEngine
from stages.core.image.views.geometric import light
from stages.core.image.views.policy import Policy
from stages.core.models.artifact import Encoder
from stages.core.params import Params
from stages.core.random import address
from stages.core.training.batches import Pixels, ViewBatches
from stages.core.training.checkpoint import Identity, Resume, digest
from stages.core.training.loop import Recipe
from stages.core.views.plan import one_view
from stages.distill.distillation import Distillation, create_method
from stages.distill.teacher import renormalisation

SMALLEST_BATCH, LARGEST_BATCH = 32, 256
STEPS_PER_EPOCH = 16
"""What ``batch_size: auto`` aims at."""


def create_student(name: str, seed: int, pretrained: Encoder, teacher: Encoder) -> Backbone:
    """Build an untrained student with the pretrained encoder's stem; one that is more than half its
    teacher is refused.
    """
    like = pretrained.backbone
    student = create_backbone(name, like.channels, like.size, address(seed, "student"), like.stem)
    check_size(student, teacher.backbone)
    return student


def create_module(
    params: Params, student: Backbone, preprocess: Preprocess, teacher: Encoder
) -> Distillation:
    """Return what is trained: the method with its student, views normalised for it."""
    own = params.distill
    module = create_method(own.method, own.settings, student, teacher.backbone, params.seed)
    module.renormalise(*renormalisation(preprocess, teacher.preprocess))
    return module


def batches(
    params: Params, manifest: Manifest, store: PixelStore, policy: Policy, preprocess: Preprocess
) -> ViewBatches:
    """Lightly moved views of the pretraining images, the same for teacher and student."""
    rows = manifest.pretraining_rows()
    gentle = Policy(
        name=f"{policy.name}, light", why="moves only", views=(light(policy),), local=()
    )
    engine = ViewEngine(gentle, one_view(), preprocess)
    size = batch_size(params.distill.batch_size, len(rows))
    return ViewBatches(
        Pixels(store, rows),
        engine,
        size,
        address(params.seed, "distill"),
        manifest.frame["id"].iloc[rows].tolist(),
    )


def batch_size(wanted: int | str, images: int) -> int:
    """A number, or ``auto``: a power of two between 32 and 256 that gives about sixteen steps per
    epoch.
    """
    if isinstance(wanted, int):
        return wanted
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and images // (2 * size) >= STEPS_PER_EPOCH:
        size *= 2
    return size


def recipe(params: Params, source: ViewBatches) -> Recipe:
    """The step loop's settings."""
    own = params.distill
    steps = own.epochs * source.steps_per_epoch
    rate, decay = own.learning_rate, own.weight_decay
    return Recipe(
        "distill",
        params.seed,
        steps,
        rate,
        decay,
        precision=own.precision,
        rate_key="distill.learning_rate",
    )


def resume_for(params: Params, source: ViewBatches, teacher: Encoder, policy: Policy) -> Resume:
    """Checkpoints that only the same parameters, teacher, policy and images find again."""
    weights = {
        name: tensor.double().sum().item() for name, tensor in teacher.backbone.state_dict().items()
    }
    inputs = {
        "teacher": digest([teacher.config, teacher.preprocess.model_dump(), weights]),
        "policy": digest(policy.model_dump(mode="json")),
        "images": digest(list(source.image_ids)),
    }
    return Resume(Identity({"seed": params.seed, "distill": params.distill.model_dump()}, inputs))
