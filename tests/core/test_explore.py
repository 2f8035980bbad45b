import naive_explore as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from decider_core import explore, random
from decider_core.assemble import Caps
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.orders import LANES
from decider_core.race import RUNNERS

MANY = 3_000 if INTERPRETED else 200_000
EXAMPLES = 20 if INTERPRETED else 150


def keys(n, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 64, n, np.uint64)


def instance(seed, n_members=4, n_candidates=6, max_messages=3):
    """Random weights over six orders of magnitude, caps that bind, candidates that are barred."""
    g = np.random.default_rng(seed)
    shares = g.random(max_messages + 1) * (g.random(max_messages + 1) < 0.7)
    shares[g.integers(max_messages + 1)] += 0.5
    return {
        "count_shares": shares / shares.sum(),
        "weight": 10.0 ** g.uniform(-3, 3, n_candidates),
        "reason": (g.random((n_candidates, n_members)) < 0.25).astype(np.uint8),
        "caps": Caps(
            g.integers(0, 2, n_candidates).astype(np.int32),
            g.integers(0, 3, n_candidates).astype(np.int32),
            g.integers(0, max_messages + 1, n_members).astype(np.int16),
            g.integers(0, max_messages + 1, (2, n_members)).astype(np.int16),
            g.integers(0, max_messages + 1, (3, n_members)).astype(np.int16),
            max_messages,
        ),
    }


def same_for_all(case, n_members):
    """Member 0 of `case`, n_members times."""
    caps = case["caps"]
    return case | {
        "reason": np.repeat(case["reason"][:, :1], n_members, axis=1),
        "caps": caps._replace(
            room_member=np.repeat(caps.room_member[:1], n_members),
            room_channel=np.repeat(caps.room_channel[:, :1], n_members, axis=1),
            room_topic=np.repeat(caps.room_topic[:, :1], n_members, axis=1),
        ),
    }


def take(case, members):
    caps = case["caps"]
    return case | {
        "reason": np.ascontiguousarray(case["reason"][:, members]),
        "caps": caps._replace(
            room_member=caps.room_member[members],
            room_channel=np.ascontiguousarray(caps.room_channel[:, members]),
            room_topic=np.ascontiguousarray(caps.room_topic[:, members]),
        ),
    }


def every_set(case):
    """All sets of up to max_messages candidates, one a column, for as many copies of member 0."""
    caps = case["caps"]
    subsets = list(naive.all_sets(len(case["weight"]), caps.max_messages))
    sets = np.full((caps.max_messages, len(subsets)), -1, np.int16)
    for column, subset in enumerate(subsets):
        sets[: len(subset), column] = subset
    return subsets, sets


def roomy_caps(n_candidates, n_members, max_messages):
    none = np.zeros(n_candidates, np.int32)
    room = np.full((1, n_members), max_messages, np.int16)
    return Caps(none, none, room[0], room, room, max_messages)


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_propensities_of_all_sets_equal_the_twin_and_sum_to_1(seed, max_messages):
    case = instance(seed, max_messages=max_messages)
    subsets, sets = every_set(case)
    probability = explore.explore_propensity(sets, **same_for_all(case, len(subsets)))
    reference = naive.propensities(0, case["count_shares"], case["weight"], case["reason"], *case["caps"])
    np.testing.assert_allclose(
        probability, [reference.get(frozenset(s), 0.0) for s in subsets], rtol=1e-9, atol=0
    )
    assert probability.sum() == pytest.approx(1.0, abs=1e-9)


def test_propensities_of_sets_of_eight_sum_to_1():
    case = instance(3, n_candidates=9, max_messages=8)
    case["reason"][:] = 0
    case["caps"] = roomy_caps(9, 4, 8)
    subsets, sets = every_set(case)
    probability = explore.explore_propensity(sets, **same_for_all(case, len(subsets)))
    assert probability.sum() == pytest.approx(1.0, abs=1e-9)
    assert len(subsets) == 2**9 - 1


def test_realised_sets_agree_with_logged_propensities():
    """Chi-square over the sets of three kinds of members, fixed seeds: false-alarm probability 1e-4 each."""
    for seed in range(3):
        case = instance(seed + 20, n_candidates=5)
        case["reason"][:, 0] = [0, 0, 0, 0, seed == 1]
        case["weight"] = np.array([1.0, 0.5, 2.0, 1.5, 3.0])
        case["count_shares"] = np.array([0.1, 0.4, 0.2, 0.3])
        case["caps"] = case["caps"]._replace(
            room_member=np.full(4, 3, np.int16),
            room_channel=np.full((2, 4), 2 if seed == 2 else 3, np.int16),
            room_topic=np.full((3, 4), 1, np.int16),
        )
        sets, propensity = explore.explore_sets(
            5, 17, **same_for_all(case, MANY), member_keys=keys(MANY, seed), candidate_keys=keys(5, 99)
        )
        drawn = [frozenset(column[column >= 0].tolist()) for column in sets.T]
        logged = dict(zip(drawn, propensity, strict=True))
        assert sum(logged.values()) == pytest.approx(1.0, abs=1e-9)  # each of the sets occurs
        realised = [drawn.count(s) for s in logged]
        expected = [MANY * p for p in logged.values()]
        assert len(logged) > 8
        assert min(expected) > 5
        assert stats.chisquare(realised, expected).pvalue > 1e-4


@pytest.mark.parametrize("equal", [False, True], ids=["weights", "equal"])
def test_sets_equal_the_twin_and_the_logged_propensity(equal):
    n = 40 if INTERPRETED else LANES + RUNNERS + 1
    case = instance(8, n_members=n)
    if equal:
        case["weight"][:] = 0.3
    members, candidates = keys(n), keys(6, 1)
    sets, propensity = explore.explore_sets(3, 4, **case, member_keys=members, candidate_keys=candidates)
    aim = random.uniforms(random.stream_key(3, random.COUNT, 4), members)
    picks = random.pair_uniforms(random.stream_key(3, random.PICK, 4), members, candidates)
    for i in range(n):
        chosen = naive.draw(
            i, aim[i], picks[:, i], case["count_shares"], case["weight"], case["reason"], *case["caps"]
        )
        assert sets[:, i][sets[:, i] >= 0].tolist() == chosen
    np.testing.assert_array_equal(explore.explore_propensity(sets, **case), propensity)


@pytest.mark.parametrize("max_messages", [1, 3, 8])
def test_equal_weights_that_nothing_binds_have_the_bits_of_the_recursion_over_subsets(max_messages):
    n = 20 if INTERPRETED else 500
    case = instance(5, n_members=n, n_candidates=12, max_messages=max_messages)
    case["weight"][:] = 0.7
    case["count_shares"] = np.arange(max_messages + 1) / np.arange(max_messages + 1).sum()
    roomy = roomy_caps(12, n, max_messages)._replace(room_member=case["caps"].room_member)
    # A channel of no candidate that is nearly full: it binds nothing, but each subset is looked at.
    room = np.stack([np.full(n, max_messages, np.int16), np.ones(n, np.int16)])
    looked_at = roomy._replace(room_channel=room)
    draw = {"member_keys": keys(n), "candidate_keys": keys(12, 1)}
    sets, propensity = explore.explore_sets(3, 4, **case | {"caps": roomy}, **draw)
    again, recursion = explore.explore_sets(3, 4, **case | {"caps": looked_at}, **draw)
    np.testing.assert_array_equal(sets, again)
    np.testing.assert_array_equal(propensity, recursion)
    assert np.unique(propensity).size > max_messages


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.integers(0, 2**32))
def test_no_set_that_can_be_drawn_is_below_the_floor(seed):
    case = instance(seed, n_members=1)
    floor = explore.explore_floor(case["count_shares"], case["weight"])
    reference = naive.propensities(0, case["count_shares"], case["weight"], case["reason"], *case["caps"])
    assert min(p for p in reference.values() if p > 0) >= floor > 0


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.integers(0, 2**32))
def test_floor_is_reached_without_caps(seed):
    case = instance(seed, n_members=1)
    case["count_shares"] = np.array([0.1, 0.2, 0.3, 0.4])
    free = naive.propensities(
        0, case["count_shares"], case["weight"], np.zeros_like(case["reason"]), *roomy_caps(6, 1, 3)
    )
    assert min(free.values()) == pytest.approx(
        explore.explore_floor(case["count_shares"], case["weight"]), rel=1e-9
    )


def test_propensity_does_not_depend_on_the_order_of_the_set():
    case = same_for_all(instance(1, n_candidates=4) | {"caps": roomy_caps(4, 4, 3)}, 3)
    case["reason"][:] = 0
    sets = np.array([[0, 3, -1], [1, 0, 3], [3, 1, 1]], np.int16)
    sets[:, 2] = [1, -1, -1]
    sets[:, 2] = np.roll(sets[:, 2], 1)
    both = explore.explore_propensity(sets, **case)
    assert both[0] == pytest.approx(both[1], rel=1e-12)
    assert both[2] == explore.explore_propensity(np.sort(sets, axis=0)[::-1].copy(), **case)[2]


def test_sets_that_cannot_be_drawn_have_propensity_0():
    case = instance(1, n_candidates=4, n_members=4)
    case["caps"] = roomy_caps(4, 4, 3)
    case["caps"].room_member[3] = 1
    case["reason"][:] = 0
    case["reason"][2, 0] = 4
    sets = np.array([[2, 1, 0, 0], [-1, 1, -1, 1], [-1, -1, -1, -1]], np.int16)
    assert (explore.explore_propensity(sets, **case) == 0).tolist() == [True, True, False, True]


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_same_sets_in_any_batch(chunk):
    n = 40 if INTERPRETED else 9000
    case = instance(4, n_members=n)
    members, candidates = keys(n), keys(6, 1)
    sets, propensity = explore.explore_sets(3, 4, **case, member_keys=members, candidate_keys=candidates)
    order = np.random.default_rng(3).permutation(n)
    for first in range(0, n, chunk):
        part = order[first : first + chunk]
        some, logged = explore.explore_sets(
            3, 4, **take(case, part), member_keys=members[part], candidate_keys=candidates
        )
        np.testing.assert_array_equal(some, sets[:, part])
        np.testing.assert_array_equal(logged, propensity[part])


def test_where_skips_members():
    n = 50
    case = instance(4, n_members=n)
    where = (np.arange(n) % 3 == 0).astype(np.uint8)
    everyone = explore.explore_sets(3, 4, **case, member_keys=keys(n), candidate_keys=keys(6, 1))
    some = explore.explore_sets(3, 4, **case, member_keys=keys(n), candidate_keys=keys(6, 1), where=where)
    np.testing.assert_array_equal(some[0], np.where(where, everyone[0], -1))
    np.testing.assert_array_equal(some[1], np.where(where, everyone[1], np.nan))


def test_another_epoch_draws_other_sets():
    n = 300
    case = same_for_all(instance(4, n_members=1) | {"caps": roomy_caps(6, 1, 3)}, n)
    case["weight"][:] = 1.0
    draw = {"member_keys": keys(n), "candidate_keys": keys(6, 1)}
    first, second = (explore.explore_sets(3, epoch, **case, **draw)[0] for epoch in (1, 2))
    assert (first != second).any(axis=0).mean() > 0.3


@pytest.mark.parametrize("kind", [explore.THOMPSON, explore.UCB, explore.GREEDY, explore.CAUTIOUS])
def test_policy_values_equal_twin(kind):
    g = np.random.default_rng(0)
    mean = g.normal(size=(5, 300)).astype(np.float32)
    sd = g.random((5, 300)).astype(np.float32)
    stream = random.stream_key(7, random.DRAW, 2)
    members, candidates = keys(300), keys(5, 1)
    z = random.normals(stream, members, candidates)
    values = explore.policy_values(kind, mean, sd, 1.5, stream, members, candidates)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, naive.policy_values(kind, mean, sd, 1.5, z))
    part = np.array([7, 250, 3])
    some = explore.policy_values(kind, mean[:, part], sd[:, part], 1.5, stream, members[part], candidates)
    np.testing.assert_array_equal(some, values[:, part])


def test_strata_have_their_shares_and_the_holdout_lasts():
    """Counts of three strata within 5 standard errors, fixed seed: false-alarm probability below 2e-6."""
    n = MANY
    members = keys(n, 2)
    monday, tuesday = (explore.strata(11, epoch, 0.1, 0.25, members) for epoch in (1, 2))
    for stratum, share in ((explore.HOLDOUT, 0.1), (explore.EXPLORE, 0.225), (explore.EXPLOIT, 0.675)):
        assert abs((monday == stratum).mean() - share) < 5 * (share * (1 - share) / n) ** 0.5
    np.testing.assert_array_equal(monday == explore.HOLDOUT, tuesday == explore.HOLDOUT)
    both = ((monday == explore.EXPLORE) & (tuesday == explore.EXPLORE)).mean()
    assert abs(both - 0.9 * 0.25**2) < 5 * (0.056 / n) ** 0.5
    np.testing.assert_array_equal(explore.strata(11, 1, 0.1, 0.25, members[5:6]), monday[5:6])


def test_strata_at_the_ends():
    assert (explore.strata(1, 1, 1.0, 1.0, keys(50)) == explore.HOLDOUT).all()
    assert (explore.strata(1, 1, 0.0, 1.0, keys(50)) == explore.EXPLORE).all()
    assert (explore.strata(1, 1, 0.0, 0.0, keys(50)) == explore.EXPLOIT).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"count_shares": np.array([0.5, 0.6, 0.0, 0.0])}, "count_shares must sum to 1, got 1.1"),
        (
            {"count_shares": np.array([1.5, -0.5, 0.0, 0.0])},
            r"count_shares must be in \[0, 1\], got 1.5 at \[0\]",
        ),
        ({"count_shares": np.array([0.5, 0.5])}, r"count_shares must have shape \(4\), got \(2,\)"),
        ({"weight": np.array([1.0, 0, 1, 1, 1, 1])}, r"weight must be in \(0, .* got 0.0 at \[1\]"),
        ({"weight": np.array([1.0, np.nan, 1, 1, 1, 1])}, "weight must be in"),
    ],
)
def test_refuses(change, text):
    with pytest.raises(ContractError, match=text):
        explore.explore_sets(1, 1, **instance(0) | change, member_keys=keys(4), candidate_keys=keys(6))


def test_refuses_an_unknown_kind_and_shares_outside_0_to_1():
    a = np.zeros((1, 1), np.float32)
    with pytest.raises(ContractError, match="kind must be THOMPSON, UCB, GREEDY or CAUTIOUS"):
        explore.policy_values(4, a, a, 1.0, np.uint64(1), keys(1), keys(1))
    with pytest.raises(ContractError, match=r"explore_share must be in \[0, 1\], got 1.5"):
        explore.strata(1, 1, 0.0, 1.5, keys(1))
