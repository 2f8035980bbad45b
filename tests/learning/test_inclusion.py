"""Inclusion of explore sets: against all sets and their exact propensities."""

import itertools

import numpy as np
import pytest
from known_sets import KEYS, SHARES, TOPIC, WEIGHT, no_caps

from decider.errors import InvalidInput
from decider.learning.inclusion import explore_inclusion, simulated_inclusion
from decider.learning.sets import held_matrix
from decider_core.assemble import Caps
from decider_core.explore import explore_propensity, explore_sets


def by_enumeration(shares, weight, eligible, topic, room=99):
    """Inclusion, expected pairs and pairs of one topic, over all sets of one member."""
    most, n_candidates = len(shares) - 1, len(weight)
    groups = [
        s for m in range(most + 1) for s in itertools.combinations(np.flatnonzero(eligible).tolist(), m)
    ]
    sets = np.full((most, len(groups)), -1, np.int16)
    for lane, group in enumerate(groups):
        sets[: len(group), lane] = group
    reason = np.repeat((~eligible).astype(np.uint8)[:, None], len(groups), axis=1)
    caps = no_caps(len(groups), most, n_candidates)
    caps = caps._replace(room_member=np.full(len(groups), min(room, most), np.int16))
    chance = explore_propensity(sets, shares, weight, reason, caps)
    inclusion, pairs, same = np.zeros(n_candidates), 0.0, 0.0
    for group, p in zip(groups, chance.tolist(), strict=True):
        inclusion[list(group)] += p
        pairs += p * len(group) * (len(group) - 1) / 2
        same += p * sum(topic[a] == topic[b] for a, b in itertools.combinations(group, 2))
    return inclusion, pairs, same


UNEVEN = np.array([0.3, 0.55, 1.7, 0.31, 2.9, 1.1])


@pytest.mark.parametrize("weight", [WEIGHT, UNEVEN, np.ones(6)], ids=["halves", "uneven", "even"])
@pytest.mark.parametrize(
    "shares", [SHARES, np.array([0.5, 0.5]), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0])]
)
def test_it_is_the_sum_over_all_sets(shares, weight):
    reason = (np.random.default_rng(3).random((6, 12)) > 0.7).astype(np.uint8)
    reason[:, 0], reason[:, 1] = 0, 1
    found = explore_inclusion(shares, weight, reason, TOPIC)
    for row in range(12):
        inclusion, pairs, same = by_enumeration(shares, weight, reason[:, row] == 0, TOPIC)
        np.testing.assert_allclose(found.probability[:, row], inclusion, atol=1e-9)
        assert found.pairs[row] == pytest.approx(pairs, abs=1e-12)
        assert found.same_topic[row] == pytest.approx(same, abs=1e-9)


def test_many_candidates_of_one_weight_have_the_closed_form():
    reason = np.zeros((40, 2), np.uint8)
    reason[30:, 1] = 1
    topic = np.arange(40, dtype=np.int32) // 10
    found = explore_inclusion(SHARES, np.ones(40), reason, topic)
    mean = SHARES @ np.arange(4)
    np.testing.assert_allclose(found.probability[:, 0], mean / 40, rtol=1e-10)
    np.testing.assert_allclose(found.probability[:30, 1], mean / 30, rtol=1e-10)
    pairs = SHARES @ [0, 0, 1, 3]
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-12)
    np.testing.assert_allclose(found.same_topic, pairs * np.array([9 / 39, 9 / 29]), rtol=1e-9)


def test_draws_hold_caps_and_agree_with_all_sets():
    # 4000 draws: five standard errors of a probability are at most 0.04, and of same-topic pairs 0.05.
    eligible = np.array([True, True, True, False, True, True])
    reason = (~eligible).astype(np.uint8)[:, None]
    caps: Caps = no_caps(1)._replace(room_member=np.array([2], np.int16))
    sent = np.array([[2], [5], [-1]], np.int16)
    drawn = simulated_inclusion(
        sent, SHARES, WEIGHT, reason, caps, TOPIC, np.array([5], np.uint64), KEYS, n_draws=4000, seed=8
    )
    inclusion, pairs, same = by_enumeration(SHARES, WEIGHT, eligible, TOPIC, room=2)
    np.testing.assert_allclose(drawn.probability[:, 0], inclusion, atol=0.04)
    assert drawn.pairs[0] == pytest.approx(pairs, abs=0.04)
    assert drawn.same_topic[0] == pytest.approx(same, abs=0.04)
    assert drawn.probability[3, 0] == 0.0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"count_shares": np.array([0.5, 0.6])}, "count_shares must be >= 0 and sum to 1"),
        ({"weight": WEIGHT * 0}, "weight must be 6 finite numbers > 0"),
        ({"weight": np.r_[WEIGHT[:5], 5000.0]}, "weight must sum to at most 512 times the least, got 5006"),
        ({"topic": TOPIC[:3]}, r"topic must have shape \(6,\)"),
    ],
)
def test_bad_input_is_refused(changes, text):
    given = {"count_shares": SHARES, "weight": WEIGHT, "reason": np.zeros((6, 1), np.uint8), "topic": TOPIC}
    with pytest.raises(InvalidInput, match=text):
        explore_inclusion(**(given | changes))
    if "512" not in text:
        draws = {"caps": no_caps(1), "member_keys": KEYS[:1], "candidate_keys": KEYS, "n_draws": 3, "seed": 0}
        draws["sent"] = NOBODY
        with pytest.raises(InvalidInput, match=text):
            simulated_inclusion(**(given | changes | draws))


NOBODY = np.full((3, 1), -1, np.int16)
OF_ONE = {
    "sent": NOBODY,
    "count_shares": SHARES,
    "weight": WEIGHT,
    "reason": np.array([[0], [0], [0], [5], [0], [0]], np.uint8),
    "caps": no_caps(1),
    "topic": TOPIC,
    "member_keys": KEYS[:1],
    "candidate_keys": KEYS,
    "n_draws": 2,
    "seed": 0,
}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_draws": 1}, "n_draws must be >= 2, got 1"),
        ({"sent": NOBODY + np.int16(4)}, "sent must hold eligible candidates only, got '3 at row 0'"),
    ],
)
def test_draws_that_tell_nothing_are_refused(changes, text):
    with pytest.raises(InvalidInput, match=text):
        simulated_inclusion(**(OF_ONE | changes))


def test_the_set_that_was_sent_is_one_of_the_draws():
    sent = np.array([[2], [5], [4]], np.int16)
    with_it, without = (simulated_inclusion(**(OF_ONE | {"sent": sets})) for sets in (sent, NOBODY))
    # The other draw is the same in both; half of the difference is the set itself.
    assert (with_it.probability - without.probability)[:, 0].tolist() == [0, 0, 0.5, 0, 0.5, 0.5]
    assert (with_it.pairs - without.pairs).tolist() == [1.5]
    assert (with_it.same_topic - without.same_topic).tolist() == [0.5]


def test_few_draws_attenuate_nothing():
    # Each candidate's effect is 1 and there is no noise: the regression of what is caused on what is held less what
    # was counted gives 1, within 5 standard errors (seen over seeds: .002 to .004 each; false alarm 1e-6), whatever
    # the number of draws. On the draws alone it would be 0.75.
    n = 40_000
    reason, members = np.zeros((6, n), np.uint8), np.arange(n, dtype=np.uint64)
    caps = no_caps(n)
    sent, _ = explore_sets(4, 0, SHARES, WEIGHT, reason, caps, members, KEYS)
    found = simulated_inclusion(sent, SHARES, WEIGHT, reason, caps, TOPIC, members, KEYS, n_draws=4, seed=5)
    held = held_matrix(sent, 6)
    caused = held - explore_inclusion(SHARES, WEIGHT, reason, TOPIC).probability
    blurred = held - found.probability
    slopes = (blurred * caused).sum(axis=1) / (blurred**2).sum(axis=1)
    np.testing.assert_allclose(slopes, 1.0, atol=0.021)
    # The draws alone: the sent set taken out again.
    alone = held - (4.0 * found.probability - held) / 3.0
    slopes = (alone * caused).sum(axis=1) / (alone**2).sum(axis=1)
    np.testing.assert_allclose(slopes, 0.75, atol=0.021)
