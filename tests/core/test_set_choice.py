from itertools import combinations

import naive_propensity as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.assemble import Caps, assemble
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.propensity import replayed_hits
from decider_core.set_choice import set_choice

N_DRAWS = 400 if INTERPRETED else 400_000


def world(seed, n_members=4, n_candidates=6, max_messages=3, fatigue=True, decades=0.5):
    """Members of whom nothing binds messages to each other but their number, and fatigue."""
    g = np.random.default_rng(seed)
    shape = n_candidates, n_members
    channel = (np.arange(n_candidates) % 2).astype(np.int32)
    room = g.integers(1, max_messages + 1, n_members).astype(np.int16)
    return {
        "mean": g.normal(0.3, 0.4, shape).astype(np.float32),
        "sd": (0.5 * 10.0 ** g.uniform(-decades, 0, shape)).astype(np.float32),
        "reason": (g.random(shape) < 0.15).astype(np.uint8),
        "fatigue": (fatigue * g.uniform(0.0, 0.4, n_members)).astype(np.float32),
        "same_topic_penalty": 0.0,
        "cost": g.choice([0.0, 1.0, 2.0], n_candidates).astype(np.float32),
        "price": g.choice([-0.1, 0.0, 0.2], n_candidates).astype(np.float32),
        "caps": Caps(channel, channel, room, np.tile(room, (2, 1)), np.tile(room, (2, 1)), max_messages),
    }


def assembled(case, seed):
    g = np.random.default_rng(seed)
    drawn = case["mean"] + case["sd"] * g.standard_normal(case["mean"].shape).astype(np.float32)
    others = {name: array for name, array in case.items() if name not in ("mean", "sd")}
    ties = np.zeros(drawn.shape[1], np.uint64)
    return assemble(drawn.astype(np.float32), **others, tie_cut=0, tie_keys=ties)[0]


@pytest.mark.parametrize("seed", range(3 if INTERPRETED else 25))
@pytest.mark.parametrize("fatigue", [False, True])
def test_equals_its_definition(seed, fatigue):
    case = world(seed, fatigue=fatigue)
    sets = assembled(case, seed)
    np.testing.assert_allclose(set_choice(sets, **case), naive.set_choice(sets, **case), rtol=1e-7)


@pytest.mark.parametrize("seed", range(2 if INTERPRETED else 12))
def test_sets_that_hardly_ever_come(seed):
    case = world(seed, n_candidates=12)
    worth = np.where(case["reason"] == 0, case["mean"] - (case["cost"] * case["price"])[:, None], np.inf)
    sets = np.argsort(worth, axis=0)[:3].astype(
        np.int16
    )  # the worst of each member, as many as there is room for
    sets[np.arange(3)[:, None] >= case["caps"].room_member] = -1
    chances = set_choice(sets, **case)
    np.testing.assert_allclose(chances, naive.set_choice(sets, **case), rtol=1e-7)
    assert chances.min() < 1e-8


@settings(deadline=None, max_examples=2 if INTERPRETED else 40)
@given(st.integers(0, 2**32), st.booleans())
def test_all_sets_together_have_probability_1(seed, fatigue):
    case = world(seed, n_members=2, fatigue=fatigue)
    total = np.zeros(2)
    for size in range(4):
        for group in combinations(range(6), size):
            sets = np.full((3, 2), -1, np.int16)
            sets[:size] = np.array(group, np.int16)[:, None]
            for r in range(2):
                possible = size <= case["caps"].room_member[r] and not case["reason"][list(group), r].any()
                # NaN here means that the probability is below all numbers.
                total[r] += np.nan_to_num(set_choice(sets, **case)[r]) if possible else 0.0
    np.testing.assert_allclose(total, 1.0, rtol=1e-7)


def test_agrees_with_replays():
    """Each of 60 sets within 4.5 standard errors; fixed seeds: false alarm 4e-4."""
    n = 60
    g = np.random.default_rng(5)
    case = world(11, n_members=1, n_candidates=5)
    case |= {name: np.repeat(case[name], n, axis=-1) for name in ("mean", "sd", "reason", "fatigue")}
    caps = case["caps"]
    room = np.full(n, 2, np.int16)
    case["caps"] = Caps(caps.channel, caps.topic, room, np.tile(room, (2, 1)), np.tile(room, (2, 1)), 3)
    sets = assembled(case, 7)
    chances = set_choice(sets, **case)
    hits = replayed_hits(
        sets, **case, tie_cut=0, tie_keys=np.zeros(n, np.uint64), seed=3, epoch=8, n_draws=N_DRAWS,
        member_keys=g.integers(0, 1 << 64, n, np.uint64), candidate_keys=g.integers(0, 1 << 64, 5, np.uint64),
    )  # fmt: skip
    error = np.sqrt(chances * (1 - chances) / N_DRAWS)
    assert (np.abs(hits / N_DRAWS - chances) <= 4.5 * error).all()
    assert len(np.unique(chances)) >= 4


def test_a_member_alone_has_the_same_bits():
    case = world(3, n_members=150, n_candidates=9)
    sets = assembled(case, 3)
    chances = set_choice(sets, **case)
    for r in (0, 63, 64, 149):
        caps = case["caps"]
        alone = case | {
            name: case[name][..., r : r + 1].copy() for name in ("mean", "sd", "reason", "fatigue")
        }
        alone["caps"] = caps._replace(
            room_member=caps.room_member[r : r + 1],
            room_channel=caps.room_channel[:, r : r + 1].copy(),
            room_topic=caps.room_topic[:, r : r + 1].copy(),
        )
        assert set_choice(sets[:, r : r + 1].copy(), **alone)[0] == chances[r]
    where = (np.arange(150) % 3 > 0).astype(np.uint8)
    some = set_choice(np.where(where, sets, np.int16(-1)), **case, where=where)
    np.testing.assert_array_equal(some, np.where(where, chances, np.nan))


def changed(case, **changes):
    return case | {"caps": case["caps"]._replace(**changes)}


def test_says_so_where_no_formula_tells():
    case = world(2, n_members=2)
    case["reason"][:] = 0
    room = np.full(2, 3, np.int16)
    rooms = np.tile(room, (2, 1))
    case = changed(case, room_member=room, room_channel=rooms, room_topic=rooms)
    sets = np.full((3, 2), -1, np.int16)
    assert np.isfinite(set_choice(sets, **case)).all()
    tight = rooms.copy()
    tight[1, 0] = 2
    for name in ("room_channel", "room_topic"):
        assert np.isnan(set_choice(sets, **changed(case, **{name: tight}))).tolist() == [True, False]
    assert np.isnan(set_choice(sets, **case | {"same_topic_penalty": 0.1})).all()
    certain = case["sd"].copy()
    certain[4, 1] = 0.0
    assert np.isnan(set_choice(sets, **case | {"sd": certain})).tolist() == [False, True]
    assert np.isnan(set_choice(sets, **case | {"price": case["price"] - np.float32(np.inf)})).all()
    # One that is known to a millionth, among those that could be the least sent.
    mean, sharp = case["mean"].copy(), case["sd"].copy()
    mean[:4], sharp[0, 0] = 1.0, 1e-6
    full = np.array([[1, 1], [2, 2], [3, 3]], np.int16)
    assert np.isnan(set_choice(full, **case | {"mean": mean, "sd": sharp})).tolist() == [True, False]


def test_what_binds_nobody_does_not_matter():
    case = world(4, n_members=3)
    sets = assembled(case, 4)
    chances = set_choice(sets, **case)
    # One eligible candidate in a topic: room for one is room enough, and the penalty is never due.
    apart = np.arange(6, dtype=np.int32)
    alone = changed(case, topic=apart, room_topic=np.ones((6, 3), np.int16)) | {"same_topic_penalty": 0.2}
    np.testing.assert_array_equal(set_choice(sets, **alone), chances)


def test_no_set_is_larger_than_its_places():
    case = world(6, n_members=5)
    room = np.full(5, 3, np.int16)
    rooms = np.tile(room, (2, 1))
    case = changed(case, room_member=room, room_channel=rooms, room_topic=rooms)
    sets = assembled(case, 6)
    more = changed(case, room_member=room + np.int16(4))
    np.testing.assert_array_equal(set_choice(sets, **more), set_choice(sets, **case))


def test_no_room_means_nothing_for_certain():
    case = world(1, n_members=2)
    case = changed(case, room_member=np.zeros(2, np.int16))
    assert set_choice(np.full((3, 2), -1, np.int16), **case).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"where": np.ones(3, np.uint8)}, "where must have shape"),
        ({"fatigue": np.array([0.1, -1.0], np.float32)}, "fatigue must be in"),
        ({"sets": np.full((3, 2), 6, np.int16)}, "sets must be in"),
        ({"sd": np.zeros((5, 2), np.float32)}, "sd must have shape"),
    ],
)
def test_refuses_what_does_not_fit(change, text):
    case = {"sets": np.full((3, 2), -1, np.int16)} | world(1, n_members=2)
    with pytest.raises(ContractError, match=text):
        set_choice(**case | change)
