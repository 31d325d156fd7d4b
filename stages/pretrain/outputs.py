"""Outputs of pretraining: encoders, the weights they started from, the curve, the map, metrics."""

from __future__ import annotations

from stages.core import paths
from stages.core.events import Tracker
from stages.core.io import atomic_directory, write_bytes, write_csv, write_json, write_metrics
from stages.core.models.artifact import CONFIG, Encoder, save_model
from stages.core.models.start import Start
from stages.core.params import Params
from stages.core.starts import NO_METHOD
from stages.pretrain.embedding_map import embedding_map
from stages.pretrain.probe import Probe, as_pixels
from stages.pretrain.report import COLUMNS, curve, measured, metrics, probe_share, time_shares
from stages.pretrain.start import begin
from stages.pretrain.train import ADVICE, Data, Trained, network


def write_start(start: Start | None, data: Data, params: Params) -> None:
    """Write the weights that training started from, for evaluate to compare with."""
    if start is None or params.pretrain.method == NO_METHOD:
        with atomic_directory(paths.START_ENCODER) as temporary:
            why = "the pretrained encoder is the start" if start else "pretrain.start is random"
            write_json(temporary / CONFIG, {"kind": "none", "why": why})
        return
    backbone = network(data, params)()
    begun = begin(backbone, start, params.pretrain)
    save_model(paths.START_ENCODER, backbone, {"method": "start", **begun}, data.preprocess)


def write(runs: dict[str, Trained], data: Data, params: Params, track: Tracker) -> None:
    """Write everything but the start, and say what was measured."""
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
