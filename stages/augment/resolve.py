"""From a name to a policy; ``auto`` looks at the images' channels, size and symmetry."""

from __future__ import annotations

import inspect

from stages.augment.symmetry import Symmetry
from stages.core import plugins
from stages.core.errors import ConfigError
from stages.core.image.views.policy import Policy

POLICIES = "stages.augment.policies"


def resolve(
    name: str, channels: int, size: int, symmetry: Symmetry, flips: bool | str = "auto"
) -> Policy:
    """Return the policy called ``name`` for images of this kind.

    ``auto`` is ``glyphs`` for grey images with a left and a right, else ``fitted``. ``flips``
    overrules the measured symmetry.

    Raises:
        ConfigError: no such policy, or one that is not made for this number of channels.
    """
    mirrors = symmetry.flips if isinstance(flips, str) else flips
    if name == "auto":
        name = "glyphs" if channels == 1 and not mirrors else "fitted"
    plugins.check(POLICIES, name, key="augment.policy")
    module = plugins.load(POLICIES, name)
    if channels not in module.CHANNELS:
        raise ConfigError(
            f"augment.policy: {name} is for {' or '.join(map(str, module.CHANNELS))} channels, the"
            f" images have {channels}"
        )
    fitted = {"flips": mirrors, "turns": mirrors and symmetry.turns}
    known = inspect.signature(module.policy).parameters
    policy: Policy = module.policy(
        channels, size, **{key: value for key, value in fitted.items() if key in known}
    )
    return policy
