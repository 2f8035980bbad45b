import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider_core.contracts import ContractError
from decider_core.lists import set_lists


@given(st.integers(0, 4), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_what_stands_in_the_places(n_places, n_members, seed):
    draw = np.random.default_rng(seed)
    sets = draw.integers(-2, 5, (n_places, n_members)).astype(np.int16)
    gains, means = draw.normal(size=(2, n_places, n_members)).astype(np.float32)
    lists = set_lists(sets, gains, means)
    assert lists.offsets.tolist() == [0, *np.cumsum((sets >= 0).sum(axis=0)).tolist()]
    held = sets.T >= 0
    np.testing.assert_array_equal(lists.codes, sets.T[held])
    np.testing.assert_array_equal(lists.values[0], gains.T[held])
    np.testing.assert_array_equal(lists.values[1], means.T[held])


def test_no_values():
    assert set_lists(np.array([[1, -1]], np.int16)).values == ()


def test_refuses_values_of_other_places():
    with pytest.raises(ContractError, match=r"values\[1\] must have shape \(1, 2\), got \(1, 3\)"):
        set_lists(np.zeros((1, 2), np.int16), np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32))
