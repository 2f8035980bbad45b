from dataclasses import replace

import numpy as np
import pytest
from known_sets import NAMES, TOPIC, simulated_sets, summed

from decider.errors import InvalidInput
from decider.learning.set_sums import SetSums
from decider.learning.sets import held_matrix
from decider_core.counts import count_pairs

SUMS = (
    "products",
    "information",
    "crossed",
    "extra_gram",
    "extra_information",
    "squares",
    "weight",
    "n_sent",
)


def with_pair(rows, p=2, seed=0):
    g = np.random.default_rng(seed)
    return replace(rows, pair=g.normal(size=(p, len(NAMES), rows.n_rows)).astype(np.float32))


def test_members_of_sets():
    sets = np.array([[0, -1, 2, 4], [1, -1, -1, 0], [-1, -1, 3, 5]], np.int16)
    assert held_matrix(sets, 6).sum(axis=0).tolist() == [2, 0, 2, 3]
    assert held_matrix(sets, 6)[:, 3].tolist() == [1, 0, 0, 0, 1, 1]


def test_the_sums_are_those_of_the_design():
    rows = with_pair(simulated_sets(0, n=60))
    sums = summed(rows)
    held = held_matrix(rows.sets, 6)
    pairs, same = count_pairs(rows.sets, TOPIC)
    z = rows.z.astype(float)
    response = np.vstack([np.ones(60), held - rows.inclusion, rows.expected_pairs - pairs])
    extra = [(held - rows.inclusion)[c] * rows.pair[j, c] for c in range(6) for j in range(2)]
    extra = np.array([*extra, rows.expected_same_topic - same])
    np.testing.assert_allclose(sums.crossed, np.einsum("ei,ki,ij->ekj", extra, response, z), atol=1e-10)
    np.testing.assert_allclose(sums.extra_gram, extra @ extra.T, atol=1e-10)
    np.testing.assert_allclose(sums.information, (response * rows.reward) @ z, atol=1e-10)
    np.testing.assert_allclose(sums.extra_information, extra @ rows.reward, atol=1e-10)
    np.testing.assert_array_equal(sums.n_sent, held.sum(axis=1))
    np.testing.assert_allclose(sums.mean_z, z.mean(axis=0))
    assert sums.reward_variance == pytest.approx(rows.reward.var())


def test_parts_and_merged_sums_equal_the_whole():
    rows = with_pair(simulated_sets(1, n=300))
    whole = summed(rows)
    halves = [summed(rows.rows(slice(a, b))) for a, b in ((0, 100), (100, 300))]
    for other in (summed(rows, parts=7), halves[0].plus(halves[1])):
        for name in SUMS:
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), rtol=1e-9, atol=1e-9)


def test_forgetting_is_weighting_by_age():
    epochs = [simulated_sets(seed, n=100) for seed in range(3)]
    streamed = SetSums(NAMES, TOPIC, 4)
    for rows in epochs:
        streamed.forget(0.7)
        streamed.add(rows)
    weighted = SetSums(NAMES, TOPIC, 4)
    for age, rows in zip((2, 1, 0), epochs, strict=True):
        weighted.add(replace(rows, weight=np.full(100, 0.7**age)))
    for name in SUMS:
        np.testing.assert_allclose(getattr(streamed, name), getattr(weighted, name), rtol=1e-9, atol=1e-9)


def test_more_candidates_in_another_order_change_no_sum():
    rows = with_pair(simulated_sets(2, n=80))
    order = [7, 3, 0, 5, 6, 1, 2, 4]
    names, topic = (*NAMES, "new@push", "other@push"), np.r_[TOPIC, [3, 4]].astype(np.int32)
    wider = summed(rows).with_candidates([names[k] for k in order], topic[order])
    old_place = np.array([order.index(c) for c in range(6)])
    inclusion = np.zeros((8, 80))
    inclusion[old_place] = rows.inclusion
    pair = np.zeros((2, 8, 80), np.float32)
    pair[:, old_place] = rows.pair
    sets = np.where(rows.sets >= 0, old_place[rows.sets], -1).astype(np.int16)
    moved = replace(rows, sets=sets, inclusion=inclusion, pair=pair)
    expected = summed(moved, names=[names[k] for k in order], topic=topic[order])
    for name in SUMS:
        np.testing.assert_allclose(getattr(wider, name), getattr(expected, name), rtol=1e-9, atol=1e-9)
    with pytest.raises(
        InvalidInput, match=r"candidates must hold all that have rows, missing, got \['m0@email'\]"
    ):
        summed(rows).with_candidates(NAMES[1:], TOPIC[1:])


@pytest.mark.parametrize(
    ("field", "place", "value", "text"),
    [
        ("sets", (0, 3), 6, r"sets must be in \[-1, 6\), got 6 at row 3"),
        ("inclusion", (2, 5), 1.5, r"inclusion must be in \[0, 1\], got 1\.5 at row 5 of candidate 2"),
        ("inclusion", (2, 5), np.nan, r"inclusion must be in \[0, 1\], got nan at row 5 of candidate 2"),
        ("expected_pairs", (4,), -1.0, r"expected_pairs must be finite and >= 0, got -1\.0 at row 4"),
        ("reward", (1,), np.inf, "reward must be finite, got inf at row 1"),
        ("z", (2, 1), np.nan, "z must be finite, got nan at row 2"),
        ("z", (2, 0), 0.5, "z must have ones in its first column, got 0.5 at row 2"),
    ],
)
def test_a_value_against_a_rule_is_named(field, place, value, text):
    rows = simulated_sets(3, n=20)
    array = getattr(rows, field).copy()
    array[place] = value
    with pytest.raises(InvalidInput, match=text):
        replace(rows, **{field: array})


def test_a_set_that_could_not_be_is_refused():
    rows = simulated_sets(4, n=30)
    row = int(np.flatnonzero(rows.sets[0] >= 0)[0])
    inclusion, twice = rows.inclusion.copy(), rows.sets.copy()
    inclusion[rows.sets[0, row], row] = 0.0
    with pytest.raises(
        InvalidInput, match=rf"inclusion must be > 0 for a candidate of the set, got 0\.0 at row {row}"
    ):
        replace(rows, inclusion=inclusion)
    twice[:, row] = rows.sets[0, row]
    with pytest.raises(InvalidInput, match=f"sets must hold a candidate once, got .* at row {row}"):
        replace(rows, sets=twice)


def test_shapes_and_other_candidates_are_refused():
    rows = simulated_sets(5, n=30)
    with pytest.raises(InvalidInput, match=r"reward must be float64 of shape \(30,\), got float32"):
        replace(rows, reward=rows.reward.astype(np.float32))
    with pytest.raises(InvalidInput, match="must hold at least one row, got none"):
        rows.rows(slice(0, 0))
    with pytest.raises(InvalidInput, match="inclusion must hold 5, got 6"):
        SetSums(NAMES[:5], TOPIC[:5], 4).add(rows)
    with pytest.raises(InvalidInput, match="pair must hold 0, got 2"):
        SetSums(NAMES, TOPIC, 4).add(with_pair(rows))
    with pytest.raises(InvalidInput, match="keep must be in"):
        SetSums(NAMES, TOPIC, 4).forget(1.5)
    with pytest.raises(InvalidInput, match="candidates must be one or more distinct names"):
        SetSums(("a", "a"), TOPIC[:2], 4)
    with pytest.raises(InvalidInput, match="other must have candidates"):
        SetSums(NAMES, TOPIC, 4).plus(SetSums(NAMES, TOPIC, 5))
