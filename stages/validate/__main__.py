"""``python -m stages.validate``."""

from __future__ import annotations

from stages.core import paths
from stages.core.errors import Refused
from stages.core.io import write_csv, write_metrics
from stages.core.manifest import Manifest
from stages.core.params import Params
from stages.core.pixels import PixelStore
from stages.core.stage import stage
from stages.core.tracking import Tracker
from stages.validate.facts import expected_classes, image_facts
from stages.validate.findings import COLUMNS, findings, rows, verdict
from stages.validate.suite import checks, run_checkpoint


@stage("validate")
def main(params: Params, track: Tracker) -> None:
    """Check the manifest against a Great Expectations suite; a critical finding stops the pipeline.

    Data Docs are built in reports/data_docs, whatever the verdict.
    """
    manifest = Manifest.read(paths.POOL_MANIFEST)
    manifest.validate_against(PixelStore.open())
    facts = image_facts(manifest)

    suite = checks(params.validate_, expected_classes(manifest, params.ingest))
    outcomes = run_checkpoint(facts, suite, paths.DATA_DOCS)
    track.artifact(paths.DATA_DOCS)

    found = findings(outcomes, facts)
    result = verdict(found, facts, len(suite))
    write_csv(paths.reports("validate") / "findings.csv", COLUMNS, rows(found, facts))
    write_metrics(paths.metrics("validate"), result)
    track.metrics({f"validate.{name}": float(value) for name, value in result.items()})

    critical = [finding.line() for finding in found if finding.severity == "critical"]
    for finding in found:
        if finding.severity != "critical":
            print(f"validate: {finding.line()}")
    if critical:
        heading = f"the data failed {len(critical)} of {len(suite)} expectations ({paths.DATA_DOCS / 'index.html'})"
        raise Refused("\n  ".join([heading, *critical]))
    print(f"validate: {len(suite)} expectations, none critical failed; see {paths.DATA_DOCS / 'index.html'}")


if __name__ == "__main__":
    main()
