from __future__ import annotations

import numpy as np
import pytest

from decider_core.contracts import (
    ContractError,
    check_array,
    check_finite,
    check_number,
    check_output,
    check_probability,
    check_range,
    check_same_length,
)
from decider_core.history_rules import Candidates, HistoryRules, check_history


def test_a_right_array_is_a_view_that_cannot_be_written():
    array = np.zeros((2, 3), np.float32)
    view = check_array("a", array, np.float32, (2, None))
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    assert array.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(2, 6)[:, ::2],
        np.frombuffer(b"\0" + np.arange(6.0).tobytes(), np.float64, offset=1).reshape(2, 3),
    ],
    ids=["fortran", "strided", "unaligned"],
)
def test_a_strided_or_unaligned_array_is_copied(array):
    view = check_array("a", array, np.float64, (2, 3))
    assert view.flags.c_contiguous
    assert view.flags.aligned
    np.testing.assert_array_equal(view, array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([1.0], "a must be a NumPy array, got list"),
        (np.zeros((2, 3)), "a must have dtype float32, got float64"),
        (np.zeros(3, np.float32), r"a must have shape \(2, any\), got \(3,\)"),
        (np.zeros((3, 3), np.float32), r"a must have shape \(2, any\), got \(3, 3\)"),
    ],
)
def test_a_wrong_array_is_refused(array, message):
    with pytest.raises(ContractError, match=message):
        check_array("a", array, np.float32, (2, None))


def test_output_is_made_or_taken():
    made = check_output("out", None, np.float32, (2, 3))
    assert made.shape == (2, 3)
    assert made.dtype == np.float32
    assert check_output("out", made, np.float32, (2, 3)) is made


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((2, 2), np.float32), r"out must have shape \(2, 3\), got \(2, 2\)"),
        (np.zeros((2, 3)), "out must have dtype float32, got float64"),
        (np.zeros((3, 2), np.float32).T, "out must be writeable.*C-contiguous=False"),
        (np.broadcast_to(np.float32(0), (2, 3)), "out must be writeable.*writeable=False"),
    ],
)
def test_a_wrong_output_is_refused(out, message):
    with pytest.raises(ContractError, match=message):
        check_output("out", out, np.float32, (2, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (3, 16), (5, 40)])
def test_what_is_not_finite_is_refused_with_its_place(dtype, wrong, place):
    array = np.full((6, 41), np.finfo(dtype).max, dtype)
    check_finite("a", array)
    array[place] = wrong
    with pytest.raises(ContractError, match=rf"a must be finite, got {wrong} at \[{place[0]}, {place[1]}\]"):
        check_finite("a", array)


def test_a_strided_array_is_looked_through():
    array = np.zeros((4, 4), np.float32)
    array[2, 2] = np.nan
    with pytest.raises(ContractError, match=r"got nan at \[1, 1\]"):
        check_finite("a", array[::2, ::2])
    check_finite("a", array[1::2])
    check_finite("a", array[:0])


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_ranges_are_held(wrong):
    check_probability("p", np.array([0.0, 0.5, 1.0]))
    with pytest.raises(ContractError, match=rf"p must be in \[0, 1\], got {wrong} at \[1\]"):
        check_probability("p", np.array([0.0, wrong]))
    with pytest.raises(ContractError, match=rf"p must be in \[0, 1\], got {wrong}$"):
        check_probability("p", wrong)


def test_an_open_range_leaves_its_end_out():
    check_range("p", np.array([0.1, 1.0]), 0.0, 1.0, open_low=True)
    with pytest.raises(ContractError, match=r"p must be in \(0, 1\], got 0.0 at \[0\]"):
        check_range("p", np.zeros(1), 0.0, 1.0, open_low=True)


def test_numbers_are_held():
    assert check_number("price", 2) == 2.0
    assert check_number("price", -np.inf, finite=False) == -np.inf
    with pytest.raises(ContractError, match=r"price must be finite and in \[-inf, inf\], got nan"):
        check_number("price", np.nan)
    with pytest.raises(ContractError, match=r"price must be finite and in \[-inf, inf\], got inf"):
        check_number("price", np.inf)
    with pytest.raises(ContractError, match=r"price must be in \[0, inf\], got -1.0"):
        check_number("price", -1.0, 0.0, finite=False)


def test_lengths_are_compared():
    assert check_same_length(a=np.zeros(3), b=np.zeros((3, 2))) == 3
    with pytest.raises(ContractError, match="a, b must have the same length, got a: 3, b: 2"):
        check_same_length(a=np.zeros(3), b=np.zeros(2))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_range_is_closed_for_every_dtype(dtype: type) -> None:
    inside = np.array([[1, 2], [3, 4]], dtype)
    check_range("p", inside, 1, 4)
    check_range("p", inside[:, ::-1], 1, 4)
    for low, high, found in ((2, 4, "got 1.* at .0, 0."), (1, 3, "got 4.* at .1, 1.")):
        with pytest.raises(ContractError, match=found):
            check_range("p", inside, low, high)


def test_tables_that_may_change_are_checked_again() -> None:
    codes, caps = np.zeros(1, np.int32), np.ones(1, np.int32)
    windows = np.ones(1, np.int64)
    rules = HistoryRules(windows, np.zeros(1, np.uint8), -1, 0, caps, windows, caps, windows)
    candidates = Candidates(codes, codes, codes)
    check_history(candidates, rules)
    caps[0] = -2
    with pytest.raises(ContractError, match="channel_cap must be in"):
        check_history(candidates, rules)
