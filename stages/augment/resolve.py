"""From a name to a policy; ``auto`` looks at the images' channels and size."""

from __future__ import annotations

from stages.core import plugins
from stages.core.errors import ConfigError
from stages.core.image.views.policy import Policy

POLICIES = "stages.augment.policies"
SMALL = 64


def resolve(name: str, channels: int, size: int) -> Policy:
    """The policy called ``name`` for images of this kind.

    Raises:
        ConfigError: no such policy, or one that is not made for this number of channels.
    """
    if name == "auto":
        name = "glyphs" if channels == 1 else "small_colour" if size < SMALL else "colour"
    plugins.check(POLICIES, name, key="augment.policy")
    module = plugins.load(POLICIES, name)
    if channels not in module.CHANNELS:
        raise ConfigError(
            f"augment.policy: {name} is for {' or '.join(map(str, module.CHANNELS))} channels, the"
            f" images have {channels}"
        )
    policy: Policy = module.policy(channels, size)
    return policy
