import numpy as np
import pytest

from decider_core.compile import kernel
from decider_core.microkernel import LANES
from decider_core.tiles import copy_roots, copy_rows, fetch, turn_blocks


@kernel
def turn(members, tile):
    turn_blocks(members, tile)


@kernel
def copy(rows, plain, roots):
    copy_rows(rows, plain)
    copy_roots(rows, roots)


@kernel
def look_ahead(numbers):
    fetch(numbers)


@pytest.mark.parametrize("n", [0, 1, 16, 1000])
def test_looking_ahead_changes_nothing_also_at_the_end_of_the_memory(n):
    numbers = np.arange(n, dtype=np.float32)
    look_ahead(numbers)
    np.testing.assert_array_equal(numbers, np.arange(n, dtype=np.float32))


@pytest.mark.parametrize("n_features", [16, 17, 32, 47])
def test_members_become_columns(n_features):
    members = np.random.default_rng(0).normal(size=(LANES, n_features)).astype(np.float32)
    tile = np.full((n_features, LANES), np.nan, np.float32)
    turn(members, tile)
    n_turned = n_features // 16 * 16
    np.testing.assert_array_equal(tile[:n_turned], members.T[:n_turned])
    assert np.isnan(tile[n_turned:]).all()


def test_rows_are_copied_into_columns_of_a_wider_array():
    rows = np.random.default_rng(0).random((8, LANES)).astype(np.float32)
    plain, roots = np.zeros((5, 3 * LANES), np.float32), np.zeros((5, 3 * LANES), np.float32)
    columns = slice(LANES, 2 * LANES)
    copy(rows, plain[:, columns], roots[:, columns])
    np.testing.assert_array_equal(plain[:, columns], rows[:5])
    np.testing.assert_array_equal(roots[:, columns], np.sqrt(rows[:5]))
    assert (plain[:, :LANES] == 0).all()
    assert (roots[:, 2 * LANES :] == 0).all()
