from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider_core.contracts import ContractError
from decider_core.rows import codes_among, follow_each_other, stretch_of, take, translate


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.booleans())
def test_a_stretch_is_what_follows_each_other(numbers, in_order):
    rows = np.arange(numbers[0], numbers[0] + len(numbers)) if in_order else np.array(numbers)
    follows = all(b == a + 1 for a, b in pairwise(rows))
    assert follow_each_other(rows) == follows
    table, found = np.arange(20) * 7, stretch_of(rows)
    assert isinstance(found, slice) == follows
    np.testing.assert_array_equal(table[found], table[rows])
    taken = np.empty(rows.size, np.int64)
    take(table, rows, taken)
    np.testing.assert_array_equal(taken, table[rows])


def test_no_rows_and_rows_from_the_end_are_no_stretch():
    for rows in (np.empty(0, np.int64), np.array([-1, 0, 1])):
        assert stretch_of(rows) is rows


def test_refuses_rows_of_another_type():
    with pytest.raises(ContractError, match="rows must have dtype int64, got int32"):
        stretch_of(np.zeros(2, np.int32))


@given(st.lists(st.integers(0, 4), max_size=40))
def test_codes(numbers):
    codes, table = np.array(numbers, np.int16), np.array([5, -3, 9, 0, 7], np.int16)
    assert codes_among(codes, 5) == sorted(set(numbers))
    assert translate(codes, table).tolist() == [int(table[code]) for code in numbers]


@pytest.mark.parametrize("codes", [[0, 5], [-1, 0], [5, 5]])
def test_refuses_codes_outside(codes):
    codes = np.array(codes, np.int16)
    with pytest.raises(ContractError, match=r"codes must be in \[0, 4\]"):
        codes_among(codes, 5)
    with pytest.raises(ContractError, match=r"codes must be in \[0, 4\]"):
        translate(codes, np.zeros(5, np.int16))
