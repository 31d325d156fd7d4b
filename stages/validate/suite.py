"""The Great Expectations suite over the table of facts, and the checkpoint that runs it and builds
the Data Docs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.core.sections import Validate
from stages.validate.audit import Answer

LABELLED = "image with a label"


@dataclass(frozen=True)
class Check:
    """One expectation: what is expected in a person's words, how grave its failure is, what GX
    calls it and with what.
    """

    name: str
    severity: str  # critical | warning | info
    sentence: str
    kind: str
    arguments: dict[str, Any]
    answer: Answer | None = (
        None  # of the audit behind it, which has more to tell than the expectation
    )


@dataclass(frozen=True)
class Outcome:
    """What the checkpoint found for a check; ``uris`` are the images at fault where the check is
    about single images.
    """

    check: Check
    passed: bool
    observed: Any
    uris: list[str]


def checks(limits: Validate, classes: list[str]) -> list[Check]:
    """The whole suite. ``classes`` are the ``"class in split"`` that must be present."""
    share = limits.max_quarantined
    sides = f"between {limits.min_side} and {limits.max_side} pixels"
    allowed = {
        "split": ["train", "val", "test", "none"],
        "role": ["pool", "target"],
        "status": ["ok", "quarantined"],
    }
    suite = [
        *(
            _critical(f"{name} is text", "ColumnValuesToBeOfType", column=name, type_="str")
            for name in ("id", "uri", "split")
        ),
        *(
            _critical(
                f"{name} is a whole number", "ColumnValuesToBeOfType", column=name, type_="int32"
            )
            for name in ("width", "height")
        ),
        *(
            _critical(f"every image has a {name}", "ColumnValuesToNotBeNull", column=name)
            for name in ("uri", "source", *allowed)
        ),
        _critical(
            "every image has an id or a reason", "ColumnValuesToNotBeNull", column="explained"
        ),
        *(
            _critical(
                f"{name} is one of {', '.join(values)}",
                "ColumnValuesToBeInSet",
                column=name,
                value_set=values,
            )
            for name, values in allowed.items()
        ),
        _critical(
            "ids are sha256", "ColumnValuesToMatchRegex", column="id", regex="^[0-9a-f]{64}$"
        ),
        _critical("every uri occurs once", "ColumnValuesToBeUnique", column="uri"),
        _critical(
            "no image is in two splits",
            "ColumnValuesToBeBetween",
            column="splits_of_id",
            min_value=1,
            max_value=1,
        ),
        _critical(
            f"the shorter side is {sides}",
            "ColumnValuesToBeBetween",
            column="shorter",
            min_value=limits.min_side,
        ),
        _critical(
            f"the longer side is {sides}",
            "ColumnValuesToBeBetween",
            column="longer",
            max_value=limits.max_side,
        ),
        _critical(
            f"at most {share:.1%} of the images are quarantined",
            "ColumnMeanToBeBetween",
            column="quarantined",
            max_value=share,
        ),
        _warning(
            "no image occurs twice in a split",
            "ColumnValuesToBeBetween",
            column="copies_in_split",
            max_value=1,
        ),
        _warning(
            "copies of an image have one label",
            "ColumnValuesToBeBetween",
            column="labels_of_id",
            max_value=1,
        ),
    ]
    if limits.require_license:
        suite += [
            _critical(
                f"every image has {words} (one for each of ingest.source)",
                "ColumnValuesToNotBeNull",
                column=name,
            )
            for name, words in {"license": "a licence", "attribution": "an attribution"}.items()
        ]
    if not classes:
        return [
            *suite,
            _warning(
                "some images have a label",
                "ColumnDistinctValuesToContainSet",
                column="class_in_split",
                value_set=[LABELLED],
            ),
        ]
    few = f"every class has at least {limits.min_per_class} images in each split"
    return [
        *suite,
        _critical(
            "every class is in each split",
            "ColumnDistinctValuesToContainSet",
            column="class_in_split",
            value_set=classes,
        ),
        _critical(
            few, "ColumnValuesToBeBetween", column="class_count", min_value=limits.min_per_class
        ),
    ]


def audit_checks(facts: pd.DataFrame, answers: Sequence[tuple[str, str, Answer]]) -> list[Check]:
    """One expectation per answer ``(audit, severity, answer)``: the column ``audit …``, added to
    the facts, is 0 throughout.

    It is 1 for the images at fault, and for all where an audit speaks of the data as a whole.
    """
    found = []
    for number, (audit, severity, answer) in enumerate(answers):
        column = f"audit {number + 1} {audit}"
        facts[column] = 0
        if not answer.passed:
            facts.loc[answer.rows if len(answer.rows) else facts.index, column] = 1
        sentence = (
            answer.expected if answer.passed else f"{answer.expected} (found: {answer.found})"
        )
        arguments = {"column": column, "max_value": 0}
        found.append(
            Check(
                column.replace(" ", "_"),
                severity,
                sentence,
                "ColumnMaxToBeBetween",
                arguments,
                answer,
            )
        )
    return found


def run_checkpoint(facts: pd.DataFrame, suite: list[Check], docs: Path) -> list[Outcome]:
    """Run the suite on the facts and build its Data Docs in ``docs``, whatever the verdict."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    shutil.rmtree(docs, ignore_errors=True)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("manifest")
        .add_dataframe_asset("images")
        .add_batch_definition_whole_dataframe("all")
    )
    expectations = [
        getattr(gx.expectations, f"Expect{check.kind}")(
            **check.arguments,
            severity=check.severity,
            description=check.sentence,
            meta={"check": check.name},
        )
        for check in suite
    ]
    gate = context.suites.add(gx.ExpectationSuite(name="manifest", expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="manifest", data=batch, suite=gate)
    )
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": store,
    }
    context.add_data_docs_site(site_name="local", site_config=site)
    checkpoint = gx.Checkpoint(
        name="gate",
        validation_definitions=[definition],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["uri"]},
        actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["local"])],
    )
    ran = context.checkpoints.add(checkpoint).run(
        {"dataframe": facts}, run_id=gx.RunIdentifier(run_name="validate")
    )
    (found,) = ran.run_results.values()
    results = {result.expectation_config.meta["check"]: result for result in found.results}
    return [_outcome(check, results[check.name]) for check in suite]


def _outcome(check: Check, result: Any) -> Outcome:
    detail = result.result or {}
    if result.exception_info and result.exception_info.get("raised_exception"):
        return Outcome(check, False, result.exception_info.get("exception_message"), [])
    uris = sorted({str(entry["uri"]) for entry in detail.get("unexpected_index_list") or []})
    return Outcome(check, bool(result.success), detail.get("observed_value"), uris)


def _critical(sentence: str, kind: str, **arguments: Any) -> Check:
    return Check(sentence.replace(" ", "_"), "critical", sentence, kind, arguments)


def _warning(sentence: str, kind: str, **arguments: Any) -> Check:
    return Check(sentence.replace(" ", "_"), "warning", sentence, kind, arguments)
