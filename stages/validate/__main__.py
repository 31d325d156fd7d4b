"""``python -m stages.validate``."""

from __future__ import annotations

from stages.core import paths
from stages.core.audit_settings import parse_audits
from stages.core.data.manifest import Manifest
from stages.core.errors import Refused
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.io import write_csv, write_metrics, write_text
from stages.core.params import Params
from stages.core.stage import stage
from stages.validate.audit import Pool
from stages.validate.datasheet import Complexity, datasheet
from stages.validate.findings import COLUMNS, findings, images, rows, verdict
from stages.validate.profile import FILE, Profile
from stages.validate.sheets import write_sheet
from stages.validate.structure import structure
from stages.validate.suite import audit_checks, checks, run_checkpoint
from stages.validate.table import expected_classes, image_facts


@stage("validate")
def main(params: Params, track: Tracker) -> None:
    """Check the manifest against a Great Expectations suite and the audits; a critical finding
    stops the pipeline.

    Data Docs are built in reports/data_docs and the datasheet in reports/validate/datasheet.md,
    whatever the verdict.
    """
    audits = parse_audits(params.validate_)
    manifest = Manifest.read(paths.POOL_MANIFEST)
    if not manifest.ok.any():
        reasons = ", ".join(sorted(set(manifest.frame["reason"].dropna())))
        raise Refused(
            f"none of the {len(manifest):,} images can be read ({reasons}): there is nothing to go"
            " on with"
        )
    store = PixelStore.open()
    manifest.validate_against(store)
    facts = image_facts(manifest)
    pool = Pool(manifest, store, params.seed, params.validate_.reference)
    answers = [
        (one.name, one.settings.severity, answer)
        for one in audits
        for answer in one.module.audit(pool, one.settings)
    ]

    asked = [*structure(manifest, params.ingest.splits), *answers]
    suite = checks(params.validate_, expected_classes(manifest, params.ingest)) + audit_checks(
        facts, asked
    )
    outcomes = run_checkpoint(facts, suite, paths.DATA_DOCS)
    track.artifact(paths.DATA_DOCS)

    found = findings(outcomes, facts)
    reports = paths.reports("validate")
    sheets = {
        finding.sheet
        for finding in found
        if write_sheet(pool, images(finding, facts), reports / finding.sheet)
    }
    write_csv(reports / "findings.csv", COLUMNS, rows(found, facts, sheets))
    complexity = Complexity.of(pool)
    write_text(reports / "datasheet.md", datasheet(pool, complexity, found, answers, sheets))
    Profile.of(pool).write(reports / FILE)
    result = verdict(found, facts, len(suite)) | complexity.metrics()
    write_metrics(paths.metrics("validate"), result)
    track.metrics({f"validate.{name}": float(value) for name, value in result.items()})

    critical = [finding.line() for finding in found if finding.severity == "critical"]
    for finding in found:
        if finding.severity != "critical":
            print(f"validate: {finding.line()}")
    if critical:
        heading = (
            f"the data failed {len(critical)} of {len(suite)} expectations"
            f" ({paths.DATA_DOCS / 'index.html'})"
        )
        raise Refused("\n  ".join([heading, *critical]))
    print(
        f"validate: {len(suite)} expectations, none critical failed; see"
        f" {paths.DATA_DOCS / 'index.html'}"
    )


if __name__ == "__main__":
    main()
