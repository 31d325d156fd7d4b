"""Each audit finds the fault that was injected, names its images, and says nothing of clean
data.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.monitoring.reference import keep
from stages.core import paths
from stages.core.audit_settings import check_audits, parse_audits
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError, DataError, Refused
from stages.core.image.pixel_store import PixelStore
from stages.core.metrics.drift import detect_drift
from stages.validate.audit import Answer, Pool
from stages.validate.profile import Profile, name_of
from stages.validate.sheets import shortened
from tests.support.images import params_with, run_stage

LABELLED = {"labelled_fraction": 1.0}


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """Pools of synthetic images by their switches, rendered once."""
    made: dict[str, Pool] = {}

    def pool(switches: str = "", seed: int = 0) -> Pool:
        key = f"{switches},{seed}"
        if key not in made:
            home = tmp_path_factory.mktemp("synthetic")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(home)
                source = f"synthetic:images=500,seed={seed},{switches}"
                run_stage("ingest", params_with(ingest={"source": source, **LABELLED}))
                made[key] = Pool(
                    Manifest.read(paths.POOL_MANIFEST),
                    PixelStore.open(home / paths.POOL_PIXELS),
                    seed,
                )
        return made[key]

    return pool


def run_audit(pool: Pool, name: str, **settings) -> list[Answer]:
    entry = {name: settings} if settings else name
    (found,) = parse_audits(params_with(validate={"audits": [entry]}).validate_)
    return found.module.audit(pool, found.settings)


def share_of(pool: Pool, answer: Answer, fault: str) -> tuple[float, float]:
    """Recall and precision of an answer's images for a fault that stands in the uris."""
    faulty = pool.manifest.frame["uri"].str.contains(fault).to_numpy(bool)
    return faulty[answer.rows].sum() / faulty.sum(), faulty[answer.rows].mean()


AUDITS = ["near_duplicates", "label_noise", "imbalance", "groups", "order", "poison", "drift"]


@pytest.mark.parametrize("name", AUDITS)
def test_clean_data_raise_no_finding(render, name):
    assert all(answer.passed for answer in run_audit(render(), name))


def test_near_copies_in_two_splits_are_named_with_their_partner(render):
    pool = render("near_duplicates=0.1")
    (answer,) = run_audit(pool, "near_duplicates")
    assert not answer.passed
    uris, split = pool.manifest.frame["uri"], pool.manifest.frame["split"]
    row = {uri.split(":")[1]: number for number, uri in enumerate(uris)}
    across = [
        (number, row[uri[-5:]])
        for number, uri in enumerate(uris)
        if "-near-copy" in uri and uri[-5:] in row
    ]
    across = [pair for pair in across if split[pair[0]] != split[pair[1]]]
    assert len(across) > 10
    named = set(answer.rows.tolist())
    assert np.mean([one in named and two in named for one, two in across]) > 0.7
    for number, detail in zip(answer.rows.tolist()[:6], answer.details, strict=False):
        assert detail.startswith(f"in {split[number]}, like synthetic:")


def test_wrong_labels_are_noticed_and_suspects_are_mostly_wrong(render):
    pool = render("label_noise=0.08")
    (answer,) = run_audit(pool, "label_noise", max_share=0.01)
    assert not answer.passed
    recall, precision = share_of(pool, answer, "mislabelled")
    assert precision > 0.75
    assert recall > 0.55
    assert all(
        detail.startswith("labelled ") and ", looks like " in detail for detail in answer.details
    )


def test_where_shape_does_not_tell_classes_apart_nothing_is_claimed(render):
    pool = render()
    lot = np.random.default_rng(0)
    shuffled = Pool(
        Manifest(pool.manifest.frame.assign(label=lot.permutation(pool.manifest.frame["label"]))),
        pool.store,
        0,
    )
    (answer,) = run_audit(shuffled, "label_noise")
    assert answer.passed
    assert "does not tell these classes apart" in answer.found


def test_imbalance_names_the_classes(render):
    (answer,) = run_audit(render("imbalance=40"), "imbalance", max_ratio=8)
    assert not answer.passed
    assert answer.found.startswith("circle has ")
    named = render("imbalance=40").manifest.frame.iloc[answer.rows]
    assert set(named["split"]) == {"train"} and named["label"].nunique() == 1
    assert f", {named['label'].iloc[0]} {len(named)} (ratio" in answer.found


def test_rare_and_missing_groups_are_named(render):
    frame = render("domains=3").manifest.frame.copy()
    rare = frame.index[(frame["group"] == "domain-1") & (frame["split"] == "test")]
    frame.loc[rare[2:], "group"] = "domain-0"
    frame.loc[frame.index[:4], "group"] = None
    pool = Pool(Manifest(frame), render("domains=3").store, 0)
    lost, few = run_audit(pool, "groups")
    assert lost.rows.tolist() == [0, 1, 2, 3]
    assert not few.passed
    assert few.found == "2 of domain-1 in test"
    assert few.rows.tolist() == sorted(rare[:2]) and few.details == ("domain-1 in test",) * 2


def test_data_that_change_as_they_go_are_in_order_and_shuffled_they_are_not(render):
    pool = render("drift=true")
    (answer,) = run_audit(pool, "order")
    assert not answer.passed
    uris = pool.manifest.frame["uri"]
    follows = dict(zip(uris[answer.rows], answer.details, strict=True))
    assert len(follows) >= 16 and sum("one before" in detail for detail in follows.values()) == 8, (
        "eight runs, each to its end"
    )
    for uri, detail in follows.items():
        other = detail.rpartition(", ")[2]
        assert (uri < other) == detail.startswith("like the next, ")
        assert pool.manifest.frame.set_index("uri").loc[[uri, other], "label"].nunique() <= 1
    order = np.random.default_rng(0).permutation(len(pool.manifest))
    store = PixelStore(
        [np.ascontiguousarray(pool.store.array(order))],
        len(order),
        pool.store.shape,
        pool.store.directory,
    )
    (answer,) = run_audit(Pool(Manifest(pool.manifest.frame.iloc[order]), store, 0), "order")
    assert answer.passed


@pytest.mark.parametrize(
    ("switch", "fault", "place"), [("poison", "poisoned", 0), ("spectral_poison", "spectral", 1)]
)
def test_a_trigger_in_two_percent_of_the_images_is_found_with_them(render, switch, fault, place):
    pool = render(f"{switch}=0.02")
    answers = run_audit(pool, "poison")
    assert not answers[place].passed
    assert answers[1 - place].passed
    recall, precision = share_of(pool, answers[place], fault)
    assert recall >= 0.9
    assert precision == 1


def test_a_finding_gets_rows_details_and_a_sheet_and_its_severity_decides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = params_with(
        ingest={"source": "synthetic:images=300,poison=0.03,domains=2", **LABELLED}
    )
    run_stage("ingest", params)
    run_stage("validate", params)
    reports = paths.reports("validate")
    with (reports / "findings.csv").open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["check"].startswith("no few images share a patch")
        ]
    assert len(rows) == 9
    assert {row["severity"] for row in rows} == {"warning"}
    assert all(
        "poisoned" in row["uri"] and row["detail"].startswith("the same patch at row") and row["id"]
        for row in rows
    )
    sheet = Image.open(reports / rows[0]["sheet"])
    assert sheet.size == (8 * 96, 2 * 120)
    page = (reports / "datasheet.md").read_text()
    assert f"]({rows[0]['sheet']})" in page
    for words in (
        "intrinsic dimension",
        "label sharpness K_F",
        "| domain-1 |",
        "| circle |",
        "| synthetic | 300 | 0 |",
    ):
        assert words in page
    with pytest.raises(
        Refused, match="no few images share a patch that no other has; found: 9 images"
    ):
        run_stage(
            "validate",
            params.model_copy(
                update={"validate_": with_audits([{"poison": {"severity": "critical"}}])}
            ),
        )


def with_audits(audits, **changes):
    return params_with(validate={"audits": audits, **changes}).validate_


def test_drift_is_measured_against_a_reference_that_cannot_change_unnoticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="rootstock run --to validate"):
        keep(Path())
    answers = {}
    reference = None
    for name, source in (
        ("first", "images=400"),
        ("same", "images=400,seed=1"),
        ("other", "images=400,seed=2,drift=true"),
    ):
        params = params_with(ingest={"source": f"synthetic:{source}", **LABELLED})
        params = params.model_copy(
            update={"validate_": with_audits(["drift"], reference=reference)}
        )
        run_stage("ingest", params)
        run_stage("validate", params)
        answers[name] = (
            "the images look like those of the reference"
            in (paths.reports("validate") / "findings.csv").read_text()
        )
        if reference is None:
            reference = str(keep(Path()))
    assert answers == {"first": False, "same": False, "other": True}
    with (paths.reports("validate") / "findings.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if row["check"].startswith("the images look like")
        ]
    away = [float(row["detail"].split()[0]) for row in rows]
    assert len(rows) == 48 and away == sorted(away, reverse=True)
    assert all(row["id"] and (paths.reports("validate") / row["sheet"]).is_file() for row in rows)
    Path(reference).write_bytes(Path(reference).read_bytes() + b"x")
    with pytest.raises(DataError, match="is not what it was"):
        run_stage("validate", params)
    Path(reference).unlink()
    with pytest.raises(DataError, match="is missing"):
        run_stage("validate", params)


def test_a_change_of_shape_alone_is_seen_in_the_embedding(render, tmp_path):
    old, new = Profile.of(render()), render(seed=1)
    old.write(tmp_path / "profile.parquet")
    reference = (tmp_path / "profile.parquet").rename(
        tmp_path / f"{name_of(tmp_path / 'profile.parquet')}.parquet"
    )
    turned = np.ascontiguousarray(np.rot90(new.store.array(np.arange(500)), axes=(2, 3)))
    store = PixelStore([turned], 500, new.store.shape, new.store.directory)
    answers = {}
    for name, pixels in (("upright", new.store), ("turned", store)):
        pool = Pool(new.manifest, pixels, 0, str(reference))
        (answers[name],) = run_audit(pool, "drift")
        told = detect_drift(
            old.statistics,
            Profile.of(pool).statistics,
            alpha=0.005,
            threshold=0.1,
            seed=0,
            permutations=499,
        )
        assert not told.drifted, "plain statistics see nothing of it"
    assert answers["upright"].passed and not answers["turned"].passed


def test_under_a_picture_stands_as_much_of_its_place_as_fits():
    for uri, shown in {
        "digits:1663": "digits:1663",
        "flowers:class-0/0497.png": "0497.png",
        "folder:a/b/c.png": "a/b/c.png",
        "synthetic:00517-mislabelled": "517-mislabelled",
    }.items():
        assert shortened(uri) == shown


def test_wrong_audits_are_one_line_with_the_nearest_name():
    for words, audits in (
        ("did you mean 'poison'", ["poisn"]),
        ("did you mean 'max_share'", [{"label_noise": {"max_shares": 0.1}}]),
        ("severity", [{"order": {"severity": "grave"}}]),
    ):
        with pytest.raises(ConfigError, match=words):
            check_audits(params_with(validate={"audits": audits}).validate_)
