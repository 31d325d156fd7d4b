"""From sources to the manifest, the pixel store and the reports."""

from __future__ import annotations

from stages.core import paths
from stages.core.budget import resolve_budget
from stages.core.data.manifest import Manifest
from stages.core.data.sources import Source, check_source, write_fingerprint
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.io import write_metrics
from stages.core.params import Params
from stages.ingest.auto_settings import depth_remark, resolve_store
from stages.ingest.collect import (
    complete_manifest,
    decode_images,
    join_facts,
    list_sources,
    unread_folders,
)
from stages.ingest.given import check_choices, given_lines, settle
from stages.ingest.label_faults import label_remarks
from stages.ingest.summary import count, left_out_line, write_left_out, write_reports
from stages.ingest.warnings import check_listed, flat_remark, remarks


def ingest(found: list[Source], params: Params, track: Tracker) -> None:
    """Write everything that the stage ingest writes."""
    check_source(params.ingest, found)
    unread = unread_folders(found)
    listed = list_sources(found, params)
    check_listed(listed)
    check_choices(listed, params.ingest)
    listed = settle(listed, params.ingest)
    for line in given_lines(listed):
        print(f"ingest: {line}", flush=True)
    store = resolve_store(params.ingest, listed, resolve_budget(params.budget).side)
    print(
        f"ingest: store of {store.size} x {store.size} pixels, {store.channels}"
        f" channel{'s' * (store.channels > 1)}",
        flush=True,
    )
    track.params({"ingest.store_size": store.size, "ingest.channels": store.channels})

    sides = params.validate_.min_side, params.validate_.max_side
    facts = decode_images(
        listed, store, params.ingest.max_pixels, paths.POOL_PIXELS, unread=unread, sides=sides
    )
    write_fingerprint(params, found)
    listed = [(source.forgetful(), entries.decoded()) for source, entries in listed]
    images = join_facts(listed, facts)
    manifest = Manifest(complete_manifest(images, params))
    manifest.write(paths.POOL_MANIFEST)
    write_left_out(listed, paths.POOL)

    metrics = count(manifest, listed, store)
    write_reports(manifest, paths.reports("ingest"))
    write_metrics(paths.metrics("ingest"), metrics)
    track.metrics(
        {f"ingest.{name}": value for name, value in metrics.items() if isinstance(value, int)}
    )
    print(
        f"ingest: {metrics['images']} images, {metrics['labelled']} labelled in"
        f" {metrics['classes']} classes, {metrics['quarantined']} quarantined,"
        f" {metrics['duplicates']} exact copies"
    )
    told = [
        left_out_line(listed),
        depth_remark(store),
        flat_remark(PixelStore.open(paths.POOL_PIXELS), manifest),
    ]
    told += [*label_remarks(images, params.ingest), *remarks(listed, manifest)]
    for remark in filter(None, told):
        print(f"ingest: {remark}")
