"""All models and the test split in; one table, one page and the predictions out."""

from __future__ import annotations

from stages.core import paths
from stages.core.events import Tracker
from stages.core.params import Params
from stages.core.stage import stage


@stage("evaluate")
def main(params: Params, track: Tracker) -> None:
    """Measure the classifier, every encoder and their controls on the test split, at every label
    budget, with intervals.

    The only stage that reads the test split. Writes reports/evaluate/index.html, a page that needs
    nothing else.
    """
    import pyarrow.parquet as pq

    from stages.core import compute
    from stages.core.data.manifest import Manifest
    from stages.core.image.pixel_store import PixelStore
    from stages.core.io import atomic_directory, read_csv, write_csv, write_metrics, write_text
    from stages.evaluate.classifier import judge
    from stages.evaluate.comparison import Table, controls
    from stages.evaluate.inputs import assemble, load_models
    from stages.evaluate.measure import measure
    from stages.evaluate.report.background import background
    from stages.evaluate.report.findings import sentences
    from stages.evaluate.report.page import render
    from stages.evaluate.results import (
        confusion_rows,
        embeddings,
        metrics,
        predictions,
        table_rows,
        tidy,
    )

    compute.deterministic()
    track.tags(compute.describe("auto"))
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    manifest.validate_against(store)
    inputs = assemble(params, manifest, store, *load_models())
    rows, features = measure(inputs)
    table = Table(rows, params.evaluate.bootstrap, params.seed)

    test, truth, classes = (
        store.gather(inputs.rows.test),
        inputs.truth.test,
        inputs.classifier.classes,
    )
    verdict = judge(inputs.classifier, test, truth, params.evaluate.bootstrap, params.seed)
    curves = {
        name: read_csv(paths.reports(name) / "curve.csv")
        for name in ("pretrain", "distill", "finetune")
    }
    page = render(
        table, verdict, test.numpy(), truth, classes, background(params, manifest, inputs, curves)
    )

    values = metrics(table, verdict, inputs, features)
    images = manifest.frame.iloc[inputs.rows.test]
    ids = images["id"].tolist()
    answers = predictions(
        verdict,
        ids,
        images["group"].tolist(),
        truth,
        classes,
        controls(table),
        str(inputs.classifier.config["method"]),
    )
    with atomic_directory(paths.reports("evaluate")) as directory:
        write_text(directory / "index.html", page)
        write_csv(directory / "table.csv", *table_rows(table))
        pq.write_table(
            tidy(table, ids, len(classes)), directory / "results.parquet", compression="zstd"
        )
        write_csv(directory / "confusion.csv", *confusion_rows(verdict, classes))
        pq.write_table(answers, directory / "predictions.parquet", compression="zstd")
        pq.write_table(
            embeddings(inputs, ids), directory / "embeddings.parquet", compression="zstd"
        )
    write_metrics(paths.metrics("evaluate"), values)
    track.metrics(
        {"accuracy": verdict.accuracy.value, "calibration_error": verdict.calibration_error}
    )
    track.artifact(paths.reports("evaluate") / "index.html")
    for sentence in sentences(table):
        print(f"evaluate: {sentence}")


if __name__ == "__main__":
    main()
