"""From sources to the manifest, the pixel store and the reports."""

from __future__ import annotations

from stages.core import paths
from stages.core.budget import resolve_budget
from stages.core.data.manifest import Manifest
from stages.core.data.sources import Source, check_source, write_fingerprint
from stages.core.events import Tracker
from stages.core.io import write_metrics
from stages.core.params import Params
from stages.ingest.auto_settings import resolve_store
from stages.ingest.collect import complete_manifest, decode_images, list_sources, unread_folders
from stages.ingest.summary import count, write_reports
from stages.ingest.warnings import check_listed, remarks


def ingest(found: list[Source], params: Params, track: Tracker) -> None:
    """Write everything that the stage ingest writes."""
    check_source(params.ingest)
    unread = unread_folders(found)
    listed = list_sources(found, params)
    check_listed(listed)
    store = resolve_store(params.ingest, listed, resolve_budget(params.budget).side)
    print(
        f"ingest: store of {store.size} x {store.size} pixels, {store.channels}"
        f" channel{'s' * (store.channels > 1)}",
        flush=True,
    )
    track.params({"ingest.store_size": store.size, "ingest.channels": store.channels})

    facts = decode_images(listed, store, params.ingest.max_pixels, paths.POOL_PIXELS, unread=unread)
    write_fingerprint(params, found)
    listed = [(source.forgetful(), entries.decoded()) for source, entries in listed]
    manifest = Manifest(complete_manifest(listed, facts, params))
    manifest.write(paths.POOL_MANIFEST)

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
    for remark in remarks(listed, manifest):
        print(f"ingest: {remark}")
