"""``python -m stages.pretrain``."""

from __future__ import annotations

from dataclasses import replace

from stages.core import compute, paths
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.image.views.policy import Policy
from stages.core.models.start import Start
from stages.core.params import Params
from stages.core.stage import stage
from stages.core.starts import NO_METHOD
from stages.core.training import distributed
from stages.pretrain.auto import resolve_auto
from stages.pretrain.launch import launch
from stages.pretrain.outputs import write, write_start
from stages.pretrain.train import Data, pretrain, time_to_the_end, unchanged


@stage("pretrain")
def main(params: Params, track: Tracker) -> None:
    """Learn an encoder from unlabelled images, and the control beside it at the same budget.

    Killed at any step, the same command goes on from the last checkpoint and ends with the same
    bytes.
    """
    compute.deterministic()
    track.tags(compute.describe(params.pretrain.precision))
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    manifest.validate_against(store)
    start = Start.read(params.pretrain)
    data = Data.of(manifest, store, Policy.read(paths.POLICY))
    if start is not None:
        data = replace(data, preprocess=start.normalised(data.preprocess))
    params, notes = resolve_auto(params, *store.shape[1:3], len(data.rows), start)
    with distributed.process_group():
        own = params.pretrain
        for note in notes:
            print(f"pretrain: {note}")
        if distributed.rank() == 0 and own.method != NO_METHOD:
            print(f"pretrain: {time_to_the_end(data, params)}")
        if start is not None and own.method == NO_METHOD:
            runs = {"pretrained": unchanged(data, params, track, start)}
        else:
            runs = {
                "pretrained": pretrain(
                    own.method, own.settings, data, params, track, "pretrained", start
                )
            }
        if own.control is not None:
            runs["control"] = pretrain(own.control, {}, data, params, track, "control", start)
        if distributed.rank() == 0:
            write_start(start, data, params)
            write(runs, data, params, track)
        distributed.barrier()


if __name__ == "__main__":
    launch()
    main()
