"""Sections of ``params.yaml``: one frozen model each, with what a value may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from stages.core.labels import NamePattern
from stages.core.splits import Choice
from stages.core.starts import NO_METHOD, RANDOM, check_start, check_teacher
from stages.core.validation_errors import explain

Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Level16 = Annotated[int, Field(ge=0, le=65535)]


def _without_weights(name: str) -> str:
    """Refuse timm's ``NETWORK.WEIGHTS``: a backbone is an architecture, its weights are
    ``pretrain.start``.
    """
    network, dot, tag = name.partition(".")
    if dot and "@" not in name and not name.startswith("torchvision:"):
        raise ValueError(
            f"{name}: the tag {tag!r} names pretrained weights: {network} is the network, and"
            f" pretrain.start=timm:{name} loads them"
        )
    return name


Untrained = Annotated[str, AfterValidator(_without_weights)]


class Section(BaseModel):
    """A frozen section that knows no other keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceEntry(Section):
    """One of several sources: ``from`` as in ``ingest.source``, and what is to be known about
    it.
    """

    from_: str = Field(alias="from")
    role: Literal["target", "pool"] = "target"
    name: str | None = None
    license: str | None = None
    attribution: str | None = None


class Columns(Section):
    """Columns of a Parquet file, where their names do not say what they are."""

    image: str | None = None
    label: str | None = None
    split: str | None = None


class Ingest(Section):
    source: str | tuple[SourceEntry, ...]
    store: Literal["pixels", "jpeg"]
    store_size: Auto | Annotated[int, Field(ge=8, le=1024)]
    channels: Auto | Literal[1, 3]
    labelled_fraction: Share
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]
    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    max_pixels: Positive
    splits: dict[str, Choice] = {}
    ignore: tuple[str, ...] = ()
    label_pattern: str | None = None
    columns: Columns = Columns()
    rare_classes: Literal["keep", "leave_out", "merge"] = "keep"
    min_images: Positive = 3
    sixteen_bit: Auto | tuple[Level16, Level16] = "auto"

    @field_validator("splits", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """Names are text, also where YAML takes them for numbers; usual other words for a split are
        understood.
        """
        if not isinstance(value, Mapping):
            return value
        words = {
            "validation": "val",
            "valid": "val",
            "training": "train",
            "testing": "test",
            "unlabeled": "unlabelled",
        }
        return {str(name): words.get(choice, choice) for name, choice in value.items()}

    @field_validator("label_pattern")
    @classmethod
    def _has_a_label(cls, value: str | None) -> str | None:
        if value is not None:
            NamePattern(value)
        return value

    @field_validator("sixteen_bit")
    @classmethod
    def _rises(cls, value: Any) -> Any:
        if value != "auto" and value[0] >= value[1]:
            raise ValueError(f"a range is [lowest, highest], {list(value)} was given")
        return value

    @field_validator("source", mode="before")
    @classmethod
    def _each_entry(cls, value: Any) -> Any:
        """A fault of one of several sources is told as its own; bare text is the ``from`` of an
        entry.
        """
        return (
            tuple(map(_source, range(len(value)), value))
            if isinstance(value, list | tuple)
            else value
        )

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction leave nothing to train on: together they"
                " must be below 1"
            )
        return self


def _source(number: int, given: Any) -> SourceEntry:
    if isinstance(given, SourceEntry):
        return given
    try:
        return SourceEntry.model_validate({"from": given} if isinstance(given, str) else given)
    except ValidationError as error:
        raise ValueError(explain(error, f"[{number}]", SourceEntry)) from None


class Validate(Section):
    max_quarantined: Share
    min_side: Positive
    max_side: Positive
    min_per_class: Positive
    require_license: bool
    reference: str | None
    audits: tuple[str | dict[str, dict[str, Any]], ...]


class Curate(Section):
    encoder: str
    budget: Annotated[float, Field(gt=0, le=1)] | Annotated[int, Field(gt=1)]
    steps: tuple[str | dict[str, dict[str, Any]], ...]
    forgotten: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...]


class Augment(Section):
    policy: str
    flips: Auto | bool


class Launch(Section):
    processes: Positive
    shard_above: Annotated[float, Field(ge=0)]


class Normalisation(Section):
    """Mean and standard deviation per channel, on pixels scaled to 0…1."""

    mean: Annotated[tuple[float, ...], Field(min_length=1)]
    std: Annotated[tuple[Rate, ...], Field(min_length=1)]


class Pretrain(Section):
    method: str
    settings: dict[str, Any]
    start: Annotated[str, AfterValidator(check_start)]
    start_min_fraction: Share
    start_normalisation: Auto | Normalisation
    control: Auto | str | None
    backbone: Untrained
    stem: Auto | Literal["small", "half", "standard"]
    epochs: Auto | Positive
    batch_size: Auto | Positive
    accumulate: Positive
    optimizer: Literal["adamw", "lars"]
    learning_rate: Auto | Rate
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["cosine", "constant", "infinite"]
    warmup: Annotated[float, Field(ge=0)]
    clip: Annotated[float, Field(ge=0)]
    precision: Literal["auto", "bf16", "fp32"]
    compile: bool
    sync_batchnorm: bool
    probe_every: Positive
    probe_share: Annotated[float, Field(gt=0, lt=1)]
    checkpoint_every: Positive
    launch: Launch

    @model_validator(mode="after")
    def _something_to_use(self) -> Self:
        if self.method == NO_METHOD and self.start == RANDOM:
            raise ValueError(
                "method: none uses the weights of pretrain.start as they are, and pretrain.start is"
                " random: give weights to start from, or a method (rootstock methods)"
            )
        return self


class Distill(Section):
    method: str
    settings: dict[str, Any]
    teacher: Annotated[str, AfterValidator(check_teacher)]
    teacher_backbone: Auto | Untrained
    backbone: Untrained | None
    required: bool
    epochs: Positive
    batch_size: Auto | Positive
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)]
    precision: Literal["auto", "bf16", "fp32"]


class Finetune(Section):
    candidates: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: Auto | Positive
    batch_size: Auto | Positive
    learning_rate: Auto | Rate
    scratch_learning_rate: Auto | Rate
    weight_decay: Annotated[float, Field(ge=0)]
    precision: Literal["auto", "bf16", "fp32"]


class Evaluate(Section):
    protocols: Annotated[tuple[str, ...], Field(min_length=1)]
    labels_per_class: tuple[Positive, ...]
    draws: Positive
    finetune_draws: Auto | Positive
    neighbours: Positive
    max_images: Annotated[int, Field(ge=100)]
    bootstrap: Annotated[int, Field(ge=100)]


class Promote(Section):
    resamples: Annotated[int, Field(ge=100)]
    gates: dict[str, bool | Annotated[float, Field(ge=0)] | dict[str, Share]]


class Monitor(Section):
    alpha: Annotated[float, Field(gt=0, lt=1)]
    threshold: Share
    neighbours: Positive
    max_images: Annotated[int, Field(ge=20)]
    max_unknown: Share
    retrain: bool


class Schedule(Section):
    overlap: Literal["queue", "skip"]
    catch_up: bool
