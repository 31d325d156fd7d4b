"""Operators that work on a whole curation, each against loops over all pairs written without
looking at it.
"""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.image.near_duplicates import likeness
from stages.core.image.pixel_store import PixelStore
from stages.core.random import numpy_generator
from stages.curate import kmeans
from stages.curate.curation import Curation
from stages.curate.operators import budget, near_duplicates, outliers, prototypes, pseudo_classes
from stages.curate.operators.contrastive_subset import expected_views, most_similar
from tests.support.images import class_folders, params_with, run_stage


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Digits with labels on some training images, ingested once."""
    root = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        folder = class_folders(root / "in", classes=4, per_class=40)
        run_stage(
            "ingest", params_with(ingest={"source": f"folder:{folder}", "labelled_fraction": 0.3})
        )
        manifest = Manifest.read(paths.POOL_MANIFEST)
        store = PixelStore.open()
    return root, manifest, store


@pytest.fixture
def curation(pool, monkeypatch):
    root, manifest, store = pool
    monkeypatch.chdir(root)
    return lambda budget=1.0, seed=0: Curation(manifest, store, "pixels", budget, seed)


def test_outliers_against_all_pairs(curation):
    state = curation()
    rows = [row for row in range(len(state.keep)) if state.training[row]]
    vectors = state.features(np.array(rows)).numpy()
    score = {}
    for one, row in enumerate(rows):
        alike = [
            np.corrcoef(vectors[one], vectors[two])[0, 1] for two in range(len(rows)) if two != one
        ]
        score[row] = float(np.mean(sorted(alike, reverse=True)[:5]))
    unlabelled = sorted(
        (row for row in rows if not state.labelled[row]), key=lambda row: score[row]
    )
    expected = unlabelled[: int(0.1 * len(rows))]
    outliers.apply(state, outliers.Settings(share=0.1, neighbours=5))
    assert sorted(expected) == np.flatnonzero(~state.keep).tolist()
    for row in expected:
        assert state.reason[row] == f"outliers: {score[row]:.3f} like its nearest 5"


def test_labelled_images_are_no_outliers_however_odd(curation):
    state = curation()
    counts = outliers.apply(state, outliers.Settings(share=1.0, neighbours=5))
    assert counts["dropped"] == (state.training & ~state.labelled).sum()
    assert state.keep[state.labelled].all()


def test_pseudo_classes_against_every_distance(curation):
    state = curation()
    pseudo_classes.apply(state, pseudo_classes.Settings(classes=6))
    centroids = kmeans.fit(state.features, state.candidates(), 6, 0).numpy()
    for row in range(len(state.keep)):
        vector = state.features(np.array([row])).numpy()[0]
        distances = [float(((vector - centre) ** 2).sum()) for centre in centroids]
        assert distances[state.cluster[row]] <= min(distances) * (1 + 1e-5)
    held_out = ~state.training
    assert held_out.any() and (state.cluster[held_out] >= 0).all() and state.keep.all()


def test_prototypes_against_counting_every_image_at_its_nearest(curation):
    state = curation()
    frame = state.manifest.frame
    names = np.where(
        frame["uri"].str.contains(":0/"),
        "zeros",
        np.where(np.arange(len(frame)) % 3, "mixed", "others"),
    )
    state.manifest = Manifest(frame.assign(source=names))
    told = prototypes.apply(state, prototypes.Settings(prototypes=8, exclusive=0.8))
    rows = state.candidates()
    centroids = kmeans.fit(state.features, rows, 8, 0).numpy()
    sizes = {name: sum(names[row] == name for row in rows) for name in ("mixed", "others", "zeros")}
    counts = [dict.fromkeys(sizes, 0) for _ in range(8)]
    for row in rows:
        vector = state.features(np.array([row])).numpy()[0]
        counts[int(((centroids - vector) ** 2).sum(1).argmin())][names[row]] += 1
    header, table = state.tables["prototypes"]
    assert header == ["prototype", "whose", "mixed", "others", "zeros"]
    for number, (count, line) in enumerate(zip(counts, table, strict=True)):
        rates = {name: count[name] / sizes[name] for name in sizes}
        owner = next((name for name in sizes if rates[name] >= 0.8 * sum(rates.values())), "shared")
        assert line == (number, owner, *count.values())
        assert sum(rates.values()) > 0
    whose = [line[1] for line in table]
    assert told == {"shared": whose.count("shared")} | {
        f"only_{name}": whose.count(name) for name in sizes
    }
    assert 0 < whose.count("zeros") < 8 and "shared" in whose
    assert state.keep.all() == state.manifest.ok.all()


def test_the_budget_against_a_lottery_drawn_one_by_one(curation):
    state = curation(budget=60, seed=7)
    rows = state.candidates().tolist()
    tickets = dict(
        zip(rows, numpy_generator(7, "budget").permutation(len(rows)).tolist(), strict=True)
    )
    left = set(rows)
    chosen = []
    while len(chosen) < 60:
        labelled = [row for row in left if state.labelled[row]]
        winner = min(labelled or left, key=tickets.__getitem__)
        chosen.append(winner)
        left.remove(winner)
    budget.apply(state, budget.Settings())
    assert sorted(left) == np.flatnonzero(~state.keep).tolist()
    assert all(state.reason[row] == "budget: not drawn" for row in left)


def test_the_lottery_is_fair(curation):
    draws = 400
    first = curation()
    rows, labelled = first.candidates(), int(first.labelled[first.candidates()].sum())
    free = rows[~first.labelled[rows]]
    wins = np.zeros(len(first.keep))
    for seed in range(draws):
        state = curation(budget=labelled + len(free) // 2, seed=seed)
        budget.apply(state, budget.Settings())
        wins += state.keep
    share = (len(free) // 2) / len(free)
    spread = (draws * share * (1 - share)) ** 0.5
    assert (np.abs(wins[free] - draws * share) < 5 * spread).all()
    assert (wins[first.labelled] == draws).all()


def test_near_duplicates_against_all_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = class_folders(tmp_path / "in", per_class=15)
    for number, file in enumerate(sorted(folder.rglob("*.png"))[:12]):
        with Image.open(file) as image:
            ImageEnhance.Brightness(image).enhance(0.8 + 0.02 * number).save(
                file.with_name(f"again-{file.name}")
            )
    run_stage("ingest", params_with(ingest={"source": f"folder:{folder}", "test_fraction": 0.2}))
    state = Curation(Manifest.read(paths.POOL_MANIFEST), PixelStore.open(), "pixels", 1.0, 0)
    limit = near_duplicates.apply(state, near_duplicates.Settings())["similarity"]
    rows = np.arange(len(state.keep))
    one, two = (grid.ravel() for grid in np.meshgrid(rows, rows, indexing="ij"))
    alike = (likeness(state.store, one, two) >= limit).reshape(len(rows), len(rows))
    gone = np.flatnonzero(~state.keep)
    assert 5 <= len(gone) <= 12
    for row in gone:  # each resembles one that stays, and says which
        name = state.reason[row].split(" like ")[1]
        (kept,) = np.flatnonzero(state.manifest.frame["uri"].to_numpy() == name)
        assert state.keep[kept] and alike[row, kept] and state.training[row]
    for row in np.flatnonzero(
        state.keep & state.training
    ):  # no training image that stays resembles another that stays
        assert alike[row][state.keep].sum() == 1


def test_expected_similarity_against_every_pair_of_views(curation):
    state = curation()
    rows = state.candidates()[:3]
    views = []
    for image in state.store.array(rows).astype(np.float32)[:, 0]:
        side = len(image)
        part = round(0.75 * side)
        starts = [
            (0, 0),
            (0, side - part),
            (side - part, 0),
            (side - part, side - part),
            (round((side - part) / 2),) * 2,
        ]
        cuts = [image[down : down + part, right : right + part] for down, right in starts]
        wide = [
            np.asarray(Image.fromarray(cut).resize((side, side), Image.Resampling.BILINEAR)).round()
            for cut in cuts
        ]
        vectors = [
            state.encode(torch.from_numpy(view.copy())[None, None].to(torch.uint8)).numpy()[0]
            for one in wide
            for view in (one, one[:, ::-1])
        ]
        views.append(
            [
                (vector - vector.mean()) / np.linalg.norm(vector - vector.mean())
                for vector in vectors
            ]
        )
    found = expected_views(state, rows)
    for one in range(3):
        for two in range(3):
            expected = np.mean([first @ second for first in views[one] for second in views[two]])
            assert abs(float(found[one] @ found[two]) - expected) < 0.01


def test_the_contrastive_choice_against_trying_every_image_each_time():
    def worth(table: np.ndarray, inside: list[int]) -> float:
        return sum(table[a, b] for a in inside for b in range(12) if b not in inside)

    for seed in range(20):
        points = numpy_generator(seed, "similar").normal(size=(12, 3))
        table = np.maximum(points @ points.T, 0)
        chosen: list[int] = []
        for _ in range(7):
            values = {one: worth(table, [*chosen, one]) for one in range(12) if one not in chosen}
            chosen.append(max(values, key=values.__getitem__))
        assert most_similar(table, 7).tolist() == sorted(chosen)
