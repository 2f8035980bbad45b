"""The live history: chains of entries, under growth and under threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import naive_members as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider.errors import InvalidInput
from decider.members import OPT_OUT, SEND, LiveHistory, LiveView
from decider.members.vocabulary import CodeTables, SendName
from decider_core.contracts import ContractError

PROFILE = settings(max_examples=60, deadline=None, derandomize=True, database=None)
Array = np.ndarray[Any, Any]


def chain(view: LiveView, row: int) -> list[int]:
    places, place = [], int(view.head[row])
    while place >= 0:
        places.append(place)
        place = int(view.next[place])
    return places


def extend(history: LiveHistory, rows: list[int], sequence: int) -> None:
    n = len(rows)
    history.extend(
        np.array(rows, np.int64),
        np.full(n, sequence * 10, np.int64),
        np.zeros(n, np.int32),
        np.full(n, SEND, np.uint8),
        np.full(n, sequence, np.int64),
    )


@PROFILE
@given(batches=st.lists(st.lists(st.integers(0, 4), max_size=9), max_size=12))
def test_chains_are_newest_first_whatever_the_batches(batches: list[list[int]]) -> None:
    history = LiveHistory(5, capacity=1)
    history.code("m", "t", "x", "email")
    entries: list[tuple[int, int]] = []
    for sequence, rows in enumerate(batches):
        extend(history, rows, sequence)
        entries += [(row, sequence) for row in rows]
    view = history.view()
    for row in range(5):
        assert chain(view, row) == naive.chain(entries, row)
    assert [int(view.sequence[view.occasion[place]]) for place in range(len(entries))] == [
        sequence for _, sequence in entries
    ]
    assert history.n_entries == len(entries)
    assert history.last_sequence() == max((sequence for _, sequence in entries), default=-1)


def test_one_at_a_time_is_as_many_at_once() -> None:
    one, many = LiveHistory(3), LiveHistory(3)
    for history in (one, many):
        history.code("m", "t", "x", "email")
    for row in (0, 2, 0, 0, 1):
        one.append(row, 70, 0, OPT_OUT, 7)
    many.extend(
        np.array([0, 2, 0, 0, 1]),
        np.full(5, 70),
        np.zeros(5, np.int32),
        np.full(5, OPT_OUT, np.uint8),
        np.full(5, 7),
    )
    for left, right in zip(one.view(), many.view(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_sets_are_as_their_sends_one_by_one() -> None:
    sets = np.array([[1, -1, 0, 1], [0, -1, -1, -1]], np.int16)
    rows, codes = np.array([2, 0, 1, 2]), np.array([0, 1], np.int32)
    for times, sequences in ((70, 7), (np.array([70, 70, 80, 70]), np.array([3, 4, 5, 6]))):
        by_set, one_by_one = LiveHistory(3, capacity=2), LiveHistory(3, capacity=2)
        for history in (by_set, one_by_one):
            for name in "mn":
                history.code(name, "t", "x", "email")
            history.append(2, 60, 0, SEND, 1)
        by_set.extend_sets(rows, sets, codes, times, sequences)
        for member, place in ((0, 0), (0, 1), (2, 0), (3, 0)):
            time, sequence = (np.broadcast_to(each, 4)[member] for each in (times, sequences))
            one_by_one.append(int(rows[member]), int(time), int(sets[place, member]), SEND, int(sequence))
        for row in range(3):
            seen = [
                [
                    (
                        view.code[e],
                        view.kind[e],
                        view.time_micros[view.occasion[e]],
                        view.sequence[view.occasion[e]],
                    )
                    for e in chain(view, row)
                ]
                for view in (by_set.view(), one_by_one.view())
            ]
            assert seen[0] == seen[1]
        assert by_set.n_entries == one_by_one.n_entries == 5
        assert by_set.last_sequence() == one_by_one.last_sequence()
    with pytest.raises(ContractError, match="sets"):
        by_set.extend_sets(rows, sets + np.int16(1), codes, 90, 9)
    with pytest.raises(ContractError, match="rows"):
        by_set.extend_sets(rows + 9, sets, codes, 90, 9)
    assert by_set.n_entries == 5


def test_a_view_stays_whole_while_the_history_grows() -> None:
    history = LiveHistory(3, capacity=4)
    history.code("m", "t", "x", "email")
    extend(history, [0, 1, 0], 1)
    view = history.view()
    for sequence in range(2, 60):
        extend(history, [0, 1, 2], sequence)
    # What the old view leads to is inside its own arrays, and its old entries are as they were.
    for row in range(3):
        places = chain(view, row)
        assert all(place < len(view.next) for place in places)
        assert [place for place in places if view.sequence[view.occasion[place]] <= 1] == naive.chain(
            [(0, 1), (1, 1), (0, 1)], row
        )
    assert not any(values.flags.writeable for values in view)


def test_heads_tell_whether_something_was_added() -> None:
    history = LiveHistory(4)
    history.code("m", "t", "x", "email")
    rows = np.array([3, 1])
    before = history.heads(rows)
    extend(history, [0, 2], 1)
    np.testing.assert_array_equal(history.heads(rows), before)
    extend(history, [1], 2)
    assert history.heads(rows).tolist() == [-1, 2]
    assert before.tolist() == [-1, -1]


def test_threads_lose_nothing() -> None:
    history = LiveHistory(50, capacity=2)
    n_threads, n_each = 8, 300

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        code = history.code(f"m{thread % 3}", "t", "x", "email")
        for i in range(n_each):
            history.append(int(rng.integers(50)), i, code, SEND, thread * n_each + i)
            view = history.view()
            places = chain(view, int(rng.integers(50)))
            assert all(later < earlier for earlier, later in itertools.pairwise(places))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view = history.view()
    found = [int(view.sequence[view.occasion[place]]) for row in range(50) for place in chain(view, row)]
    assert sorted(found) == list(range(n_threads * n_each))
    assert len(history.vocabulary) == 3


class Names:
    """A catalog's part in the translation, counted."""

    def __init__(self) -> None:
        self.n_calls = 0

    def code_tables(self, vocabulary: Sequence[SendName]) -> CodeTables:
        self.n_calls += 1
        table = np.arange(len(vocabulary), dtype=np.int32)
        return table, table, table


def test_code_tables_follow_the_vocabulary_and_the_catalog() -> None:
    history = LiveHistory(2)
    assert history.code("a", "t", "x", "email") == history.code("a", "t", "x", "email") == 0
    assert history.channel_code("sms") == 1
    assert history.vocabulary == (("a", "t", "x", "email"), ("", "", "", "sms"))
    catalog, other = Names(), Names()
    for _ in range(3):
        assert len(history.code_tables(catalog)[0]) == 2
    assert catalog.n_calls == 1
    history.code("b", "t", "y", "sms")
    assert len(history.code_tables(catalog)[2]) == 3
    assert len(history.code_tables(other)[2]) == 3
    assert (catalog.n_calls, other.n_calls) == (2, 1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((2, 0, 0, SEND, 0), r"rows must be in \[0, 1\], got 2 at 0"),
        ((-1, 0, 0, SEND, 0), r"rows must be in \[0, 1\], got -1 at 0"),
        ((0, 0, 1, SEND, 0), r"code must be in \[0, 0\], got 1 at 0"),
        ((0, 0, 0, 2, 0), r"kind must be in \[0, 1\], got 2 at 0"),
        ((0, 0, 0, SEND, -1), r"sequence must be in"),
    ],
)
def test_an_entry_out_of_range_is_refused_whole(entry: tuple[int, int, int, int, int], message: str) -> None:
    history = LiveHistory(2)
    history.code("a", "t", "x", "email")
    with pytest.raises(InvalidInput, match=message):
        history.append(*entry)
    assert history.n_entries == 0
    with pytest.raises(InvalidInput, match=r"code must have 2 entries, one a row"):
        history.extend(np.zeros(2, np.int64), np.zeros(2, np.int64), *(np.zeros(1, np.int64),) * 3)
    with pytest.raises(ValueError, match="must be >= 1"):
        LiveHistory(0)
