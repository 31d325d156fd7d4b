"""Long tags: what is longer than MLflow keeps of a tag comes back whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.adapters.mlflow import long_tags
from flows.adapters.mlflow.store import LONGEST_PARAM


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=400), max_size=40))
def test_a_value_comes_back_whole_in_pieces_that_fit(value: dict[str, str]) -> None:
    tags = {"rootstock.stage": "evaluate", **long_tags.written("rootstock.inputs", value)}
    assert long_tags.read(tags, "rootstock.inputs") == value
    assert all(len(piece) <= LONGEST_PARAM for piece in tags.values())


def test_a_hundred_dependencies_take_several_tags() -> None:
    value = {f"stages/core/a/long/path/to/module_{number}.py": "a" * 32 for number in range(150)}
    tags = long_tags.written("rootstock.inputs", value)
    assert list(tags)[:2] == ["rootstock.inputs", "rootstock.inputs.2"]
    assert long_tags.read(tags, "rootstock.inputs") == value


def test_what_was_never_written_is_empty() -> None:
    assert long_tags.read({}, "rootstock.inputs") == {}
    assert long_tags.text({"rootstock.inputs.2": "lost"}, "rootstock.inputs") == ""
