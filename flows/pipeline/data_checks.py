"""Checks before the first stage, of what parameters and images together rule out: networks,
batches, places of outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flows.pipeline.network_checks import try_networks
from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.params import Params


def check_places(outputs: Iterable[str]) -> None:
    """Refuse a folder of outputs that is a link: DVC keeps none that is outside the repository, and
    says so after the work.

    Raises:
        ConfigError: it says how to keep the bytes on another disk.
    """
    for folder in sorted({folder for output in outputs for folder in Path(output).parents}):
        if folder.is_symlink():
            target = folder.resolve()
            raise ConfigError(
                f"{folder} is a link to {target}, and DVC keeps no output outside the repository."
                f" To keep the bytes there, remove the link (rm {folder}) and let DVC's cache be"
                f" there: dvc cache dir --local {target}/dvc-cache && dvc config --local cache.type"
                " reflink,symlink,copy; or mount the disk at this place"
            )


def check_data(params: Params, made: bool) -> None:
    """Refuse what would otherwise fail after hours.

    Args:
        params: the parameters of the run.
        made: whether ``data/pool`` is what the sources are now.

    Raises:
        ConfigError: one line with the key and what to change.
    """
    if made and paths.POOL_MANIFEST.is_file():
        _check_batch(params)
    try_networks(params, made)


def _check_batch(params: Params) -> None:
    """Curation only takes images away, so a batch that does not fit the pool fits nothing."""
    from stages.core.data.manifest import Manifest

    own = params.pretrain
    parts = own.launch.processes * own.accumulate
    if parts == 1:  # two images are not too many to ask for, and a manifest may have a million rows
        return
    images = len(Manifest.read(paths.POOL_MANIFEST).pretraining_rows())
    batch = images if own.batch_size == "auto" else min(own.batch_size, images)
    if batch < 2 * parts:
        raise ConfigError(
            f"{paths.PARAMS}: pretrain: a batch of {batch} images cannot be split into {parts}"
            " parts of two or more; give more images, a larger pretrain.batch_size, or fewer"
            " pretrain.accumulate × launch.processes"
        )
