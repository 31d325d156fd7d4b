"""What a parameter may say beyond its type: names that exist, settings a method knows, sources that
can be read.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from flows.pipeline.network_checks import check_network
from flows.registry import encoder_files, start_files
from stages.core import paths
from stages.core.audit_settings import check_audits
from stages.core.curation_steps import check_steps
from stages.core.data.sources import check_source
from stages.core.errors import ConfigError
from stages.core.families import family
from stages.core.params import Params
from stages.core.starts import NO_METHOD, network
from stages.core.validation_errors import explain

METRIC = "metric"
"""The gate whose thresholds are given by metric."""


def check_choices(params: Params, sources: bool = True) -> None:
    """Refuse what no stage could use, before anything runs or is written; ``sources``: also images
    that are not there.

    Raises:
        ConfigError: one line that names the key and what is allowed.
    """
    objectives, gates = family("pretrain.method"), family("promote.gates")
    if params.pretrain.method != NO_METHOD:
        objectives.check(params.pretrain.method)
    if params.pretrain.control not in {None, "auto"}:
        objectives.check(params.pretrain.control, key="pretrain.control")
    _check_settings(params.pretrain.method, params.pretrain.settings)
    if (public := network(params.pretrain.start)) is not None:
        check_network(public, "pretrain.start")
    start_files.check(params.pretrain.start, there=sources)
    if params.augment.policy != "auto":
        family("augment.policy").check(params.augment.policy)
    if params.pretrain.backbone != "auto":
        check_network(params.pretrain.backbone, "pretrain.backbone")
    family("distill.method").check(params.distill.method)
    _check_distill_settings(params.distill.method, params.distill.settings)
    start_files.check(params.distill.teacher, there=sources, key="distill.teacher")
    if params.distill.teacher_backbone != "auto":
        check_network(params.distill.teacher_backbone, "distill.teacher_backbone")
    if params.distill.backbone is not None:
        check_network(params.distill.backbone, "distill.backbone")
    for candidate in params.finetune.candidates:
        family("finetune.candidates").check(candidate)
    for protocol in params.evaluate.protocols:
        family("evaluate.protocols").check(protocol)
    for gate, threshold in params.promote.gates.items():
        gates.check(gate)
        if gate == METRIC or isinstance(threshold, dict):
            _check_metrics(gate, threshold)
        elif threshold > 1 and getattr(
            gates.load(gate), "SHARE", False
        ):  # true is no more than 1 either
            raise ConfigError(
                f"{paths.PARAMS}: promote.gates.{gate} is {threshold:g}; it is a fraction, 0 to 1"
            )
    check_audits(params.validate_)
    check_steps(params.curate)
    encoder_files.check(params.curate.encoder)
    if sources:
        check_source(params.ingest)


def _check_metrics(gate: str, thresholds: bool | float | dict[str, float]) -> None:
    """Refuse thresholds by metric where a gate takes one number, and unknown metrics."""
    if thresholds is False:
        return
    if not isinstance(thresholds, dict):
        raise ConfigError(
            f"{paths.PARAMS}: promote.gates.{gate} names its metrics, such as {{macro_f1: 0.8}}"
        )
    if gate != METRIC:
        raise ConfigError(
            f"{paths.PARAMS}: promote.gates.{gate} is one number, true or false; thresholds by"
            " metric go to promote.gates.metric"
        )
    for name in thresholds:
        family("promote.gates.metric").check(name)


def _check_distill_settings(method: str, settings: dict[str, Any]) -> None:
    if not settings:
        return
    model = family("distill.method").load(method).Settings
    try:
        model.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(
            f"{paths.PARAMS}: {explain(error, f'distill.settings ({method})', model)}"
        ) from None


def _check_settings(method: str, settings: dict[str, Any]) -> None:
    """A method's settings class stands beside the method; it is loaded only when there is something
    to check.
    """
    if not settings:
        return
    if method == NO_METHOD:
        raise ConfigError(f"{paths.PARAMS}: pretrain.settings: {method} has no settings")
    module = family("pretrain.method").load(method)
    model = next(
        (
            vars(item)["Settings"]
            for item in vars(module).values()
            if isinstance(item, type)
            and item.__module__ == module.__name__
            and "Settings" in vars(item)
        ),
        None,
    )
    if model is None:
        raise ConfigError(f"{paths.PARAMS}: pretrain.settings: {method} has no settings")
    try:
        model.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(
            explain(error, f"{paths.PARAMS}: pretrain.settings of {method}", model)
        ) from None
