"""Each operator against a second, naive implementation."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.random import numpy_generator
from stages.curate import kmeans
from stages.curate.neighbours import neighbours
from stages.curate.operators import balance
from stages.curate.operators.balance import allocate, join, linked, share_out
from stages.curate.operators.exact_duplicates import find_copies
from stages.curate.operators.near_duplicates import distinct_pairs
from tests.support.images import DIGITS

clusters = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=30))
def test_copies_against_a_loop(images):
    ids, preferred = (
        np.array([name for name, _ in images], object),
        np.array([flag for _, flag in images], bool),
    )
    expected = {}
    for name in set(ids):
        rows = [row for row in range(len(ids)) if ids[row] == name]
        stays = next((row for row in rows if preferred[row]), rows[0])
        expected |= {row: stays for row in rows if row != stays}
    copies, originals = find_copies(ids, preferred)
    assert dict(zip(copies.tolist(), originals.tolist(), strict=True)) == expected
    assert copies.tolist() == sorted(copies.tolist())


@settings(max_examples=200)
@given(clusters, st.integers(0, 400))
def test_allocation_against_handing_out_one_at_a_time(drawn, budget):
    sizes = np.array([max(pair) for pair in drawn])
    base = np.array([min(pair) for pair in drawn])
    budget = max(budget, int(base.sum()))
    shares = base.copy()
    while shares.sum() < min(budget, sizes.sum()):
        open_ones = np.flatnonzero(shares < sizes)
        shares[open_ones[shares[open_ones].argmin()]] += 1
    found = allocate(budget, sizes, base)
    assert found.sum() == shares.sum()
    assert sorted(found.tolist()) == sorted(shares.tolist())
    assert ((base <= found) & (found <= sizes)).all()


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 300))
def test_a_hierarchy_meets_the_budget_and_balances_the_top_first(seed, budget):
    draw = numpy_generator(seed, "t")
    leaf, parent = draw.integers(0, 12, 300), draw.integers(0, 3, 12)
    labelled = draw.random(300) < 0.1
    quotas = share_out(leaf, labelled, [parent], 12, budget, draw)
    assert quotas.sum() == budget
    assert (quotas <= np.bincount(leaf, minlength=12)).all()
    if labelled.sum() <= budget:
        assert (quotas >= np.bincount(leaf[labelled], minlength=12)).all()
    tops = np.bincount(parent, quotas, 3)
    room = np.bincount(parent, np.bincount(leaf, minlength=12), 3) > tops
    bound = np.bincount(parent, np.bincount(leaf[labelled], minlength=12), 3)
    if labelled.sum() <= budget and room.any():
        assert (tops <= np.maximum(tops[room].min() + 1, bound)).all()


def test_groups_against_joining_the_nearest_two_one_pair_at_a_time():
    for seed in range(10):
        points = numpy_generator(seed, "linked").normal(size=(14, 3))
        groups = [[number] for number in range(14)]
        while len(groups) > 4:
            apart = {
                (one, two): np.mean(
                    [
                        np.linalg.norm(points[a] - points[b])
                        for a in groups[one]
                        for b in groups[two]
                    ]
                )
                for one in range(len(groups))
                for two in range(one)
            }
            one, two = min(apart, key=apart.__getitem__)
            groups[two] += groups.pop(one)
        found = linked(points, 4)
        assert sorted(sorted(group) for group in groups) == sorted(
            np.flatnonzero(found == one).tolist() for one in set(found)
        )


def test_groups_that_lie_apart_are_found_and_a_single_cloud_is_not_cut_there():
    lot = numpy_generator(0, "leap")
    cloud = lot.normal(size=(140, 16))
    assert len(set(linked(cloud, 12, by_leap=True))) == 12
    centres = 12 * lot.normal(size=(7, 16))
    found = linked(cloud + centres[np.arange(140) % 7], 12, by_leap=True)
    assert {len(set(found[one::7])) for one in range(7)} == {1} and len(set(found)) == 7
    assert (
        len(set(linked(cloud + 90.0 * (np.arange(140) == 3)[:, None], 12, by_leap=True))) == 12
    ), "an outlier is no kind"


@pytest.mark.parametrize("most_linked", [4096, 10])
def test_a_rare_kind_gets_as_much_as_a_common_one(most_linked, monkeypatch):
    monkeypatch.setattr(balance, "MOST_LINKED", most_linked)
    kind = np.repeat([0, 1, 2], [1000, 100, 10])
    points = torch.from_numpy(
        numpy_generator(0, "kinds").normal(size=(1110, 2)) + 20 * kind[:, None]
    ).float()
    fetch = lambda chosen: points[torch.from_numpy(chosen)]  # noqa: E731
    rows = np.arange(1110)
    levels = balance.level_sizes("auto", 1110)
    centroids = kmeans.fit(fetch, rows, levels[0], 0)
    leaf = kmeans.assign(fetch, rows, centroids)
    quotas = share_out(
        leaf,
        np.zeros(1110, bool),
        join(centroids, (3,), 0),
        levels[0],
        30,
        numpy_generator(0, "lot"),
    )
    of_kind = kind[[np.flatnonzero(leaf == number)[0] for number in range(levels[0])]]
    assert np.bincount(of_kind, quotas).tolist() == [10, 10, 10]


def test_kmeans_reaches_what_a_plain_loop_reaches_from_the_same_start():
    points = torch.from_numpy(DIGITS.images.reshape(-1, 64)[:500].astype(np.float32))
    rows = np.arange(500)
    fetch = lambda chosen: points[torch.from_numpy(chosen)]  # noqa: E731
    centroids = kmeans.fit(fetch, rows, 8, seed=3)
    draw = numpy_generator(3, "kmeans", 8, 500)
    sample = points.numpy()[np.sort(draw.permutation(500)[: 8 * 256])]
    shuffled = torch.from_numpy(sample)[torch.from_numpy(draw.permutation(500))]
    plain = kmeans.spread(shuffled, 8, draw).numpy().astype(np.float64)
    for _ in range(kmeans.ITERATIONS):
        nearest = ((sample[:, None] - plain[None]) ** 2).sum(2).argmin(1)
        plain = np.stack([sample[nearest == number].mean(0) for number in range(8)])
    assert np.allclose(np.sort(centroids.numpy(), 0), np.sort(plain, 0), atol=1e-2)
    labels = kmeans.assign(fetch, rows, centroids)
    assert (
        labels == ((points.numpy()[:, None] - centroids.numpy()[None]) ** 2).sum(2).argmin(1)
    ).all()


def test_first_centroids_are_drawn_by_squared_distance():
    points = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    counts = Counter()
    for seed in range(2000):
        chosen = kmeans.spread(points, 2, numpy_generator(seed, "spread")).flatten().tolist()
        counts[tuple(chosen)] += 1
    expected = {
        (0.0, 1.0): 0.5 * 0.1,
        (0.0, 3.0): 0.5 * 0.9,
        (1.0, 0.0): 0.25 * 2 / 6,
        (1.0, 3.0): 0.25 * 4 / 6,
    }
    expected |= {(3.0, 0.0): 0.25 * 18 / 22, (3.0, 1.0): 0.25 * 4 / 22}
    for pair, share in expected.items():
        assert abs(counts[pair] / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5
    assert sum(counts.values()) == sum(counts[pair] for pair in expected)


def test_more_clusters_than_different_points_repeat_points():
    points = torch.tensor([[0.0], [0.0], [1.0]])
    assert sorted(kmeans.spread(points, 3, numpy_generator(0, "spread")).flatten().tolist()) == [
        0,
        0,
        1,
    ]


def test_no_cluster_stays_empty():
    points = torch.cat([torch.zeros(50, 2), torch.tensor([[9.0, 9.0], [-9.0, 9.0]])])
    centroids = kmeans.fit(lambda rows: points[torch.from_numpy(rows)], np.arange(52), 3, seed=0)
    assert (
        len(
            Counter(
                kmeans.assign(lambda rows: points[torch.from_numpy(rows)], np.arange(52), centroids)
            )
        )
        == 3
    )


def test_neighbours_against_all_pairs():
    points = torch.from_numpy(DIGITS.images.reshape(-1, 64).astype(np.float32))
    rows = np.arange(0, 1797, 2)
    found, scores = neighbours(lambda chosen: points[torch.from_numpy(chosen)], rows, 4, seed=0)
    table = np.corrcoef(points.numpy()[rows])
    np.fill_diagonal(table, -2)
    assert np.allclose(np.sort(table, 1)[:, ::-1][:, :4], scores, atol=1e-5)
    assert np.allclose(
        table[np.arange(len(rows))[:, None], np.searchsorted(rows, found)], scores, atol=1e-5
    )


@given(st.integers(0, 10**6))
def test_pairs_are_each_there_once(seed):
    lot = numpy_generator(seed, "pairs")
    rows = np.sort(lot.permutation(50)[:12])
    near = rows[lot.integers(0, 12, (12, 3))].astype(np.int32)
    wanted = lot.random((12, 3)) < 0.5
    more = rows[lot.integers(0, 12, (int(lot.integers(0, 6)), 2))]
    expected = {tuple(sorted(pair)) for pair in more.tolist()}
    for place, row in enumerate(rows.tolist()):
        expected |= {
            tuple(sorted((row, int(near[place, column]))))
            for column in range(3)
            if wanted[place, column]
        }
    assert [tuple(pair) for pair in distinct_pairs(rows, near, wanted, more).tolist()] == sorted(
        expected
    )
