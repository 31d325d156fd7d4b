"""``python -m stages.pretrain``."""

from __future__ import annotations

from dataclasses import replace

from stages.core import compute, paths
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.image.views.policy import Policy
from stages.core.io import atomic_directory, write_bytes, write_csv, write_json, write_metrics
from stages.core.models.artifact import CONFIG, Encoder, save_model
from stages.core.params import Params
from stages.core.stage import stage
from stages.core.starts import NO_METHOD
from stages.core.training import distributed
from stages.pretrain.auto import resolve_auto
from stages.pretrain.embedding_map import embedding_map
from stages.pretrain.launch import launch
from stages.pretrain.probe import Probe, as_pixels
from stages.pretrain.report import COLUMNS, curve, measured, metrics, probe_share, time_shares
from stages.pretrain.start import Start, begin
from stages.pretrain.train import ADVICE, Data, Trained, network, pretrain, unchanged


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
        for note in notes:
            print(f"pretrain: {note}")
        own = params.pretrain
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
            _write_start(start, data, params)
            _write(runs, data, params, track)
        distributed.barrier()


def _write_start(start: Start | None, data: Data, params: Params) -> None:
    """The weights that training started from, for evaluate to compare with."""
    if start is None or params.pretrain.method == NO_METHOD:
        with atomic_directory(paths.START_ENCODER) as temporary:
            why = "the pretrained encoder is the start" if start else "pretrain.start is random"
            write_json(temporary / CONFIG, {"kind": "none", "why": why})
        return
    backbone = network(data, params)()
    begun = begin(backbone, start, params.pretrain)
    save_model(paths.START_ENCODER, backbone, {"method": "start", **begun}, data.preprocess)


def _write(runs: dict[str, Trained], data: Data, params: Params, track: Tracker) -> None:
    for label, directory in {"pretrained": paths.PRETRAINED, "control": paths.CONTROL}.items():
        if label in runs:
            save_model(directory, runs[label].backbone, runs[label].config, data.preprocess)
        else:
            with atomic_directory(directory) as temporary:
                write_json(temporary / CONFIG, {"kind": "none", "why": "no control was trained"})
    write_csv(paths.reports("pretrain") / "curve.csv", COLUMNS, curve(runs))
    probe = Probe.of(data.manifest, data.store, params.seed)
    images, labels = probe.shown()
    encoders = {
        label: Encoder(trained.backbone, data.preprocess, {}).encode
        for label, trained in runs.items()
    }
    features = {
        label: encode(images).numpy()
        for label, encode in {"raw pixels": as_pixels, **encoders}.items()
    }
    write_bytes(
        paths.reports("pretrain") / "embedding.png",
        embedding_map(features, labels, data.manifest.classes),
    )
    raw = probe.raw_pixels()
    numbers = metrics(runs["pretrained"], runs.get("control"), raw)
    write_metrics(paths.metrics("pretrain"), numbers)
    for label, trained in runs.items():
        shares = time_shares(trained)
        track.metrics({f"{label}.{name}": value for name, value in shares.items()})
        print(probe_share(label, shares["share.probe"], params.pretrain))
        trained.resume.clear()
    for line in measured(runs, raw):
        print(line)
    if not runs["pretrained"].config["useful"]:
        print(f"pretrain: {ADVICE}")


if __name__ == "__main__":
    launch()
    main()
