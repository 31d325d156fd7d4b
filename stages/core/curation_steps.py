"""``curate.steps``: an ordered list of operators with settings, checked before anything runs; and
``curate.encoder``.
"""

from __future__ import annotations

from stages.core import plugin_lists, plugins
from stages.core.errors import ConfigError
from stages.core.plugin_lists import Named
from stages.core.sections import Curate

OPERATORS = "stages.curate.operators"
KEY = "curate.steps"
ENCODERS = "stages.curate.encoders"
NEED_ARGUMENT = {"registry": "rootstock-encoder@frozen-best", "timm": "resnet18.a1_in1k"}


def parse_steps(curate: Curate) -> list[Named]:
    """Every operator (a module with ``apply``) with its settings; refusals as in
    :func:`plugin_lists.parse`.

    Raises:
        ConfigError: or an encoder that does not exist.
    """
    split_encoder(curate.encoder)
    return plugin_lists.parse(curate.steps, OPERATORS, KEY)


def check_steps(curate: Curate) -> None:
    """Refuse what :func:`parse_steps` would, loading only operators that were given settings."""
    split_encoder(curate.encoder)
    plugin_lists.check(curate.steps, OPERATORS, KEY)


def split_encoder(encoder: str) -> tuple[str, str]:
    """``curate.encoder`` as the name of an encoder and its argument; a bare timm name is ``timm``
    and that name.

    Raises:
        ConfigError: neither an encoder nor a network that timm knows, or an encoder without the
            argument it needs.
    """
    kind, colon, argument = encoder.partition(":")
    known = plugins.names(ENCODERS)
    if kind not in known and not colon and _is_timm(encoder):
        return "timm", encoder
    plugins.check(ENCODERS, kind, key="curate.encoder")
    if kind in NEED_ARGUMENT and not argument:
        raise ConfigError(
            f"curate.encoder: {kind} needs a name, for example {kind}:{NEED_ARGUMENT[kind]}"
        )
    return kind, argument


def _is_timm(name: str) -> bool:
    import timm

    return bool(timm.is_model(name))
