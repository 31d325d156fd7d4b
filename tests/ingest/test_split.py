"""Splits: copies stay together, held-out shares are exact, given splits win, little moves when
images are added.
"""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.split import PROTECTION, assign_splits, quota


def make(rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "label", "given"], dtype=object)
    return frame.assign(uri=[f"u{row}" for row in range(len(frame))], source="s")


@st.composite
def images(draw):
    ids = [None, *(f"{number:02x}" for number in range(12))]
    row = st.tuples(
        st.sampled_from(ids),
        st.sampled_from(["cat", "dog", None]),
        st.sampled_from([None, None, "train", "val", "test"]),
    )
    return make(draw(st.lists(row, min_size=1, max_size=40)))


@settings(max_examples=200, deadline=None)
@given(images(), st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 1), st.integers(0, 3))
def test_copies_share_a_split_and_protected_splits_are_never_left(
    frame, validation, test, labelled, seed
):
    out = assign_splits(frame, validation, test, labelled, seed)
    both = pd.concat([frame[["id", "given"]], out], axis=1)
    readable = both["id"].notna()
    assert (both[readable].groupby("id")["split"].nunique() == 1).all()
    rank = both["split"].map(PROTECTION)
    assert (rank[readable] >= both["given"].map({"val": 2, "test": 3}).fillna(0)[readable]).all()
    assert (both.loc[~readable, "split"] == "none").all()
    assert both.loc[readable & (both["split"] == "none"), "label"].isna().all()
    assert both.loc[readable & (both["split"] == "none"), "role"].eq("pool").all()
    assert set(both["split"]) <= set(PROTECTION)


def test_shares_are_exact_per_class_and_every_class_keeps_a_training_image():
    frame = make(
        [
            (f"{label}{number}", label, None)
            for label, many in (("a", 100), ("b", 10), ("c", 3), ("d", 1))
            for number in range(many)
        ]
    )
    out = assign_splits(frame, 0.15, 0.2, 0.25, seed=0).assign(name=frame["label"])
    counts = {name: group["split"].value_counts().to_dict() for name, group in out.groupby("name")}
    assert counts["a"] == {"none": 49, "test": 20, "train": 16, "val": 15}
    assert counts["b"] == {"none": 4, "test": 2, "train": 2, "val": 2}
    assert counts["c"] == {"test": 1, "val": 1, "train": 1}
    assert counts["d"] == {"train": 1}


def test_quota():
    assert [quota(count, 0.2) for count in (0, 1, 2, 3, 7, 8, 100)] == [0, 0, 0, 1, 1, 2, 20]
    assert quota(50, 0.0) == 0


def test_adding_images_moves_few_others():
    rows = [(f"{number:04}", "a", None) for number in range(1000)]
    before = assign_splits(make(rows[:950]), 0.15, 0.2, 0.5, seed=1)["split"]
    after = assign_splits(make(rows), 0.15, 0.2, 0.5, seed=1)["split"][:950]
    assert (before != after).mean() < 0.05
    assert (assign_splits(make(rows[:950]), 0.15, 0.2, 0.5, seed=2)["split"] != before).mean() > 0.3


def test_an_unlabelled_copy_of_a_held_out_image_is_held_out_too():
    frame = make(
        [(f"{number}", "a", None) for number in range(10)]
        + [(f"{number}", None, None) for number in range(10)]
    )
    out = assign_splits(frame, 0.2, 0.2, 1.0, seed=0)
    assert (out["split"][:10].to_numpy() == out["split"][10:].to_numpy()).all()
    held_out = out["split"][10:].isin(["val", "test"])
    assert held_out.sum() == 4
    assert out["reason"][10:][held_out].str.contains("as a copy of u").all()
    assert out["reason"][:10].isna().all()
