"""Ids find their rows, whatever they are and however their hashes collide."""

from __future__ import annotations

from typing import Any

import naive_members as naive
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_members import built

from decider.members import Snapshot
from decider.members.ids import text_buffers
from decider.members.index import duplicate_rows, lookup, same_text, sorted_index, text_array

INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
PROFILE = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def opened(tmp_path_factory: pytest.TempPathFactory, ids: list[Any]) -> Snapshot:
    table = pl.DataFrame(
        {"member_id": pl.Series(ids, dtype=pl.Int64 if isinstance(ids[0], int) else pl.String)}
    )
    plain: dict[str, Any] = {"features": (), "categories": (), "consent": {}, "time_zone_column": None}
    return built(tmp_path_factory.mktemp("rows"), table, **plain)


@PROFILE
@given(data=st.data())
@pytest.mark.parametrize("kind", [INTEGERS, TEXTS], ids=["int64", "string"])
def test_every_id_finds_its_row(
    tmp_path_factory: pytest.TempPathFactory, kind: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    ids = data.draw(st.lists(kind, min_size=1, max_size=40, unique=True))
    wanted = data.draw(st.lists(st.one_of(st.sampled_from(ids), kind), max_size=60))
    snapshot = opened(tmp_path_factory, ids)
    ref = naive.rows_of(ids, wanted)
    assert snapshot.rows_of(wanted).tolist() == ref
    dtype = pl.Int64 if isinstance(ids[0], int) else pl.String
    assert snapshot.rows_of(pl.Series(wanted, dtype=dtype)).tolist() == ref
    if dtype == pl.Int64:
        assert snapshot.rows_of(np.array(wanted, np.int64)).tolist() == ref
    assert snapshot.rows_of(ids).tolist() == list(range(len(ids)))
    assert snapshot.ids(np.arange(len(ids))).to_list() == ids


@PROFILE
@given(
    ids=st.lists(TEXTS, min_size=1, max_size=40, unique=True),
    others=st.lists(TEXTS, max_size=20),
    n_buckets=st.sampled_from([1, 2, 5]),
)
def test_colliding_hashes_are_told_apart(ids: list[str], others: list[str], n_buckets: int) -> None:
    """A hash with few values: nearly every look-up meets members with the same hash and another id."""

    def weak(texts: list[str]) -> np.ndarray[Any, Any]:
        return np.array([sum(text.encode()) % n_buckets for text in texts], np.uint64)

    wanted = [*ids, *others, *ids[::-1]]
    stored = text_array(*text_buffers(pl.Series(ids, dtype=pl.String)))
    asked = text_array(*text_buffers(pl.Series(wanted, dtype=pl.String)))
    keys, rows = sorted_index(weak(ids))
    assert lookup(keys, rows, weak(wanted), same_text(asked, stored)).tolist() == naive.rows_of(ids, wanted)
    assert duplicate_rows(keys, rows, same_text(stored, stored)) is None


@PROFILE
@given(ids=st.lists(TEXTS, min_size=1, max_size=30, unique=True), data=st.data())
def test_a_doubled_id_is_found_among_collisions(ids: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(ids) - 1))
    ids = [*ids, ids[first]]
    stored = text_array(*text_buffers(pl.Series(ids, dtype=pl.String)))
    for hashes in (np.zeros(len(ids), np.uint64), np.array([len(text) for text in ids], np.uint64)):
        keys, rows = sorted_index(hashes)
        assert duplicate_rows(keys, rows, same_text(stored, stored)) == (first, len(ids) - 1)


@pytest.mark.parametrize("text_ids", [False, True])
def test_many_look_ups_agree_with_few(tmp_path_factory: pytest.TempPathFactory, text_ids: bool) -> None:
    """Large look-ups are sorted first; the answer is the same."""
    rng = np.random.default_rng(3)
    numbers = rng.choice(10**6, 20_000, replace=False)
    ids = [f"member number {number}" for number in numbers] if text_ids else numbers.tolist()
    snapshot = opened(tmp_path_factory, ids)
    wanted = [ids[i] for i in rng.integers(0, len(ids), 10_000)] + (["nobody"] if text_ids else [-5])
    comp = snapshot.rows_of(wanted)
    assert comp.tolist() == naive.rows_of(ids, wanted)
    parts = [snapshot.rows_of(wanted[start : start + 100]) for start in range(0, len(wanted), 100)]
    np.testing.assert_array_equal(np.concatenate(parts), comp)
