"""``python -m stages.curate``."""

from __future__ import annotations

from stages.core import paths
from stages.core.curation_steps import parse_steps
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.io import write_csv, write_metrics
from stages.core.params import Params
from stages.core.stage import stage
from stages.curate.curation import Curation
from stages.curate.forget import forget
from stages.curate.summary import cluster_table, count, dropped_table


@stage("curate")
def main(params: Params, track: Tracker) -> None:
    """Run the operators of curate.steps in order; every row stays in the manifest, with the reason
    if it is not kept.
    """
    steps = parse_steps(params.curate)
    manifest = Manifest.read(paths.POOL_MANIFEST)
    store = PixelStore.open()
    manifest.validate_against(store)
    curation = Curation(manifest, store, params.curate.encoder, params.curate.budget, params.seed)

    numbers: dict[str, dict[str, float]] = {"forgotten": forget(curation, params.curate.forgotten)}
    for step in steps:
        numbers[step.name] = step.module.apply(curation, step.settings)
        shown = ", ".join(
            f"{name} {value:,.{0 if float(value).is_integer() else 4}f}"
            for name, value in numbers[step.name].items()
        )
        print(f"curate: {step.name}: {shown}", flush=True)
        track.metrics(
            {f"curate.{step.name}.{name}": value for name, value in numbers[step.name].items()}
        )

    curated = curation.result()
    curated.write(paths.CURATED_MANIFEST)
    reports = paths.reports("curate")
    write_csv(reports / "dropped.csv", ["uri", "split", "reason"], dropped_table(curated))
    write_csv(reports / "clusters.csv", ["cluster", "images", "kept"], cluster_table(curated))
    for name, (header, table) in curation.tables.items():
        write_csv(reports / f"{name}.csv", header, table)
    metrics = count(curated) | {"steps": numbers}
    write_metrics(paths.metrics("curate"), metrics)
    track.metrics({"curate.kept": metrics["kept"], "curate.pretraining": metrics["pretraining"]})
    print(
        f"curate: {metrics['kept']} of {metrics['images']} images kept, {metrics['pretraining']} of"
        " them for pretraining"
    )


if __name__ == "__main__":
    main()
