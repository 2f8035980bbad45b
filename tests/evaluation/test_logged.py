import numpy as np
import polars as pl
import pytest
from small_logs import StoredLog, simulated, small, stored

from decider.errors import InvalidInput, UnknownName
from decider.evaluation import member_keys_of, read_logged
from decider_core.random import hash_string


def test_a_stored_log_reads_back_as_it_was():
    log = simulated(0, n=50)
    again = read_logged(stored(log), "visit")
    for name in ("x", "arm", "reward", "propensity", "member_keys"):
        np.testing.assert_array_equal(getattr(again, name), getattr(log, name))
    assert (again.arms, again.control, again.feature_names) == (log.arms, 0, ("a", "b"))


def test_string_ids_become_hashes():
    log = small()
    again = read_logged(stored(log, ids=["ann", "bob", "", "zoë"]), "visit")
    assert again.member_keys.tolist() == [int(hash_string(name)) for name in ("ann", "bob", "", "zoë")]


def test_integer_ids_become_their_bits():
    keys = member_keys_of(pl.Series([0, -1, 7]))
    assert keys.tolist() == [0, 2**64 - 1, 7]


def test_the_control_is_an_arm_even_if_not_listed():
    table = stored(small())
    table.arms = ["sale"]
    assert read_logged(table, "visit").arms == ("nothing", "sale")


def test_rows_are_kept_by_mask_and_number():
    log = small()
    kept = log.rows(np.array([True, False, True, False]))
    assert kept.reward.tolist() == [1.0, 4.0]
    assert log.rows(np.array([3, 1])).arm.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reward": np.array([1.0, np.nan, 0, 0])}, "y:visit must be finite, got nan at row 1"),
        ({"x": np.array([[0], [0], [np.inf], [0]], np.float32)}, "x:a must be finite, got inf at row 2"),
        ({"x": np.zeros((4, 2), np.float32)}, r"x must be float32 of shape \(4, 1\)"),
        ({"arm": np.array([0, 1, 2, 0])}, r"arm must be in \[0, 2\), got 2 at row 2"),
        ({"arm": np.array([0, -1, 1, 0])}, r"arm must be in \[0, 2\), got -1 at row 1"),
        ({"arm": np.array([0.0, 1, 1, 0])}, "arm must be int64"),
        ({"propensity": np.full((4, 2), 0.6)}, "propensity must sum to 1 over the arms, got 1.2 at row 0"),
        ({"propensity": np.array([[0.5, 0.5]] * 3 + [[0.0, 1.0]])}, "> 0 for the arm .* got 0.0 at row 3"),
        ({"propensity": np.array([[1.5, -0.5]] * 4)}, r"p:nothing must be in \[0, 1\], got 1.5 at row 0"),
        ({"propensity": np.full((4, 2), np.nan)}, r"p:sale must be in \[0, 1\], got nan at row 0"),
        ({"arms": ("sale", "sale")}, "arms must be two or more distinct names"),
        ({"control": 2}, "control must be a code of an arm, got 2"),
        ({"member_keys": np.arange(4)}, "member_keys must be uint64"),
    ],
)
def test_a_log_that_breaks_a_rule_is_refused(changes, text):
    with pytest.raises(InvalidInput, match=text):
        small(**changes)


def test_an_empty_log_is_refused():
    with pytest.raises(InvalidInput, match="arm must hold at least one row, got none"):
        small().rows(np.zeros(4, np.bool_))


def test_an_unknown_reward_is_named():
    with pytest.raises(UnknownName, match=r"reward must be one of \['visit'\], got 'spend'"):
        read_logged(stored(small()), "spend")


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("arm", "other", r"arm must be one of \['nothing', 'sale'\], got 'other' at row 2"),
        ("arm", None, "arm must be one of .* got None at row 2"),
        ("propensity", 0.3, "propensity must equal p:sale = 0.5, got 0.3 at row 2"),
        ("propensity", None, "propensity must not be missing, got None at row 2"),
        ("y:visit", None, "y:visit must not be missing, got None at row 2"),
        ("x:a", None, "x:a must not be missing, got None at row 2"),
        ("p:sale", None, "p:sale must not be missing, got None at row 2"),
        ("member_id", None, "member_id must not be missing, got None at row 2"),
    ],
)
def test_a_stored_value_that_breaks_a_rule_is_named(column, value, text):
    table = stored(small())
    values = table.frame[column].to_list()
    values[2] = value
    frame = table.frame.with_columns(pl.Series(column, values, table.frame.schema[column]))
    broken = StoredLog(frame, table.arms, table.control, table.rewards, table.feature_names)
    with pytest.raises(InvalidInput, match=text):
        read_logged(broken, "visit")
