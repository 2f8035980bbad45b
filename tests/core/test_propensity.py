import naive_propensity as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from decider_core import random
from decider_core.assemble import Caps, assemble
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.explore import THOMPSON, policy_values
from decider_core.propensity import of_strata, replayed_hits, single_choice

N_DRAWS = 400 if INTERPRETED else 1_000_000


def keys(n, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 64, n, np.uint64)


def posterior(seed, n_members=3, n_candidates=5, decades=1.0):
    """Standard deviations over some decades, some 0, some candidates barred."""
    g = np.random.default_rng(seed)
    shape = (n_candidates, n_members)
    sd = 10.0 ** g.uniform(-decades, 0, shape) * (g.random(shape) > 0.15)
    return {
        "mean": g.normal(0.1, 0.5, shape).astype(np.float32),
        "sd": sd.astype(np.float32),
        "reason": (g.random(shape) < 0.2).astype(np.uint8),
        "cost": g.choice([0.0, 1.0, 2.0], n_candidates).astype(np.float32),
        "price": np.full(n_candidates, g.choice([-0.3, 0.0, 0.2]), np.float32),
    }


def roomy_caps(n_candidates, n_members, max_messages):
    none = np.zeros(n_candidates, np.int32)
    room = np.full((1, n_members), max_messages, np.int16)
    return Caps(none, none, room[0], room, room, max_messages)


def for_sets(seed, n_members=4, n_candidates=5, max_messages=3):
    g = np.random.default_rng(seed)
    caps = Caps(
        g.integers(0, 2, n_candidates).astype(np.int32),
        g.integers(0, 3, n_candidates).astype(np.int32),
        g.integers(1, max_messages + 1, n_members).astype(np.int16),
        g.integers(1, max_messages + 1, (2, n_members)).astype(np.int16),
        g.integers(1, 3, (3, n_members)).astype(np.int16),
        max_messages,
    )
    return posterior(seed, n_members, n_candidates) | {
        "fatigue": (g.random(n_members) / 10).astype(np.float32),
        "same_topic_penalty": 0.1,
        "tie_cut": 0,
        "tie_keys": keys(n_members, seed) & np.uint64((1 << 64) - 16),
        "caps": caps,
    }


@settings(deadline=None, max_examples=5 if INTERPRETED else 25)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 2.0]))
def test_single_choice_equals_twin(seed, decades):
    case = posterior(seed, n_members=2, n_candidates=4, decades=decades)
    np.testing.assert_allclose(single_choice(**case), naive.single_choice(**case), atol=1e-9, rtol=0)


@settings(deadline=None, max_examples=20 if INTERPRETED else 200)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 6.0]), st.sampled_from([1, 2, 7, 32]))
def test_single_choice_sums_to_1(seed, decades, n_candidates):
    chances = single_choice(**posterior(seed, 2, n_candidates, decades))
    np.testing.assert_allclose(chances.sum(axis=0), 1.0, atol=1e-9, rtol=0)
    assert (chances >= 0).all()


@pytest.mark.parametrize("exploited", [1.0, np.nan])
def test_what_strata_tell(exploited):
    stratum = np.random.default_rng(0).integers(0, 3, 100).astype(np.uint8)
    drawn = np.random.default_rng(1).random(100)
    expected = [(1.0, drawn[r], exploited)[code] for r, code in enumerate(stratum)]
    np.testing.assert_array_equal(of_strata(stratum, 1, 2, drawn, exploited), expected)
    with pytest.raises(ContractError, match=r"drawn must have shape \(100\)"):
        of_strata(stratum, 1, 2, drawn[:-1], exploited)


def test_single_choice_of_many_alike_is_even():
    n = 60 if INTERPRETED else 500
    alike = np.ones((n, 1), np.float32)
    chances = single_choice(
        alike * np.float32(0.2), alike, np.zeros((n, 1), np.uint8), alike[:, 0], alike[:, 0] * np.float32(0.1)
    )
    nobody = stats.norm.cdf(-0.1) ** n
    assert chances[-1, 0] == pytest.approx(nobody, abs=1e-12)
    np.testing.assert_allclose(chances[:-1], (1 - nobody) / n, atol=1e-9 / n)


def test_single_choice_of_one_is_a_normal_tail():
    one = np.full((1, 1), 0.3, np.float32)
    chances = single_choice(
        one, one, np.zeros((1, 1), np.uint8), one[0] * 0 + 2, one[0] * 0 + np.float32(0.25)
    )
    assert chances[0, 0] == pytest.approx(stats.norm.sf(0.5, one[0, 0], one[0, 0]), abs=1e-12)


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ([0.5, 0.7, 0.7], [0, 1, 0, 0]),  # the lower index of two equal ones
        ([0.1, 0.2, 0.2], [0, 0, 0, 1]),  # at the price: nobody
        ([-1.0, 0.3, 0.1], [0, 1, 0, 0]),
    ],
)
def test_single_choice_without_uncertainty(mean, expected):
    n = np.zeros((3, 1), np.float32)
    chances = single_choice(
        np.array([mean], np.float32).T, n, n.astype(np.uint8), n[:, 0] + 1, n[:, 0] + np.float32(0.2)
    )
    assert chances[:, 0].tolist() == expected


def test_single_choice_agrees_with_replays():
    """Each of 6 outcomes of 3 members within 4 standard errors; fixed seed: false alarm 1.2e-3."""
    case = posterior(31, n_members=3, n_candidates=5)
    case["sd"] = np.maximum(case["sd"], np.float32(0.05))
    case["sd"][2, 1] = 0.0
    chances = single_choice(**case)
    for r in range(3):
        copies = {n: np.repeat(case[n][:, r : r + 1], 6, axis=1) for n in ("mean", "sd", "reason")}
        hits = replayed_hits(
            sets=np.array([[0, 1, 2, 3, 4, -1]], np.int16),
            **case | copies,
            fatigue=np.zeros(6, np.float32),
            same_topic_penalty=0.0,
            tie_cut=0,
            tie_keys=np.zeros(6, np.uint64),
            caps=roomy_caps(5, 6, 1),
            seed=3,
            epoch=8,
            n_draws=N_DRAWS,
            member_keys=np.repeat(keys(3)[r], 6),
            candidate_keys=keys(5, 1),
        )
        assert hits.sum() == N_DRAWS
        error = np.sqrt(chances[:, r] * (1 - chances[:, r]) / N_DRAWS)
        assert (abs(hits / N_DRAWS - chances[:, r]) <= 4 * error + 1e-12).all()
    assert ((chances > 0.01) & (chances < 0.99)).sum() > 8


@pytest.mark.parametrize("seed", range(3))
def test_replayed_hits_equal_twin(seed):
    n_draws = 20 if INTERPRETED else 300
    case = for_sets(seed)
    members, candidates = keys(4), keys(5, 1)
    value = policy_values(
        THOMPSON,
        case["mean"],
        case["sd"],
        0.0,
        random.stream_key(7, random.REPLAY, 9, 0),
        members,
        candidates,
    )
    others = {n: v for n, v in case.items() if n not in ("mean", "sd")}
    sets, _ = assemble(value, **others)
    hits = replayed_hits(
        sets[::-1].copy(),
        **case,
        seed=7,
        epoch=9,
        n_draws=n_draws,
        member_keys=members,
        candidate_keys=candidates,
        held=(held := np.full(sets.shape, -7, np.int32)),
    )
    z = np.stack(
        [
            random.normals(random.stream_key(7, random.REPLAY, 9, i), members, candidates)
            for i in range(n_draws)
        ]
    )
    flat = {n: v for n, v in others.items() if n != "caps"} | case["caps"]._asdict()
    np.testing.assert_array_equal(hits, naive.replayed_hits(sets, case["mean"], case["sd"], z, **flat))
    expected = naive.replayed_holds(sets[::-1], case["mean"], case["sd"], z, **flat)
    np.testing.assert_array_equal(held, expected)
    assert (held >= hits).sum() >= (sets >= 0).sum()
    assert (hits >= 1).all()
    assert (hits < n_draws).any()


def test_same_in_any_batch():
    n = 20
    case = for_sets(2, n_members=n)
    members, candidates = keys(n), keys(5, 1)
    draw = {"seed": 7, "epoch": 9, "n_draws": 60, "candidate_keys": candidates}
    sets = np.full((3, n), -1, np.int16)
    sets[0] = np.arange(n) % 5
    whole = replayed_hits(sets, **case, **draw, member_keys=members)
    one = {n: case[n] for n in ("mean", "sd", "reason", "cost", "price")}
    chances = single_choice(**one)
    caps = case["caps"]
    for chunk in (1, 7):
        for first in range(0, n, chunk):
            p = slice(first, first + chunk)
            some = {n: case[n][:, p] for n in ("mean", "sd", "reason")}
            np.testing.assert_array_equal(single_choice(**one | some), chances[:, p])
            some |= {"fatigue": case["fatigue"][p], "tie_keys": case["tie_keys"][p]}
            some["caps"] = caps._replace(
                room_member=caps.room_member[p],
                room_channel=caps.room_channel[:, p],
                room_topic=caps.room_topic[:, p],
            )
            hits = replayed_hits(sets[:, p], **case | some, **draw, member_keys=members[p])
            np.testing.assert_array_equal(hits, whole[p])


def put(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: {"price": put(c["price"], 1, -np.inf)}, r"price must be finite, got -inf at \[1\]"),
        (lambda c: {"cost": put(c["cost"], 1, -1.0)}, "cost must be in"),
        (
            lambda c: {"mean": put(c["mean"], (2, 1), np.nan)},
            r"mean and sd must be finite .* got nan and .* at \[2, 1\]",
        ),
        (
            lambda c: {"sd": put(c["sd"], (2, 1), -1.0)},
            r"sd at least 0 where eligible, got .* and -1.0 at \[2, 1\]",
        ),
        (lambda c: {"sd": c["sd"][:2]}, "sd must have shape"),
    ],
)
def test_single_choice_refuses(change, text):
    case = posterior(0)
    case["reason"][2, 1] = 0
    with pytest.raises(ContractError, match=text):
        single_choice(**case | change(case))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n_draws": 0}, r"n_draws must be in \[1, 2\^31\), got 0"),
        ({"sets": np.full((3, 4), 5, np.int16)}, r"sets must be in \[-1, 4\], got 5 at \[0, 0\]"),
        ({"member_keys": keys(3)}, "member_keys must have shape"),
        ({"seed": 1 << 65}, "seed must fit in 64 bits"),
    ],
)
def test_replayed_hits_refuses(change, text):
    case = for_sets(0) | {"sets": np.full((3, 4), -1, np.int16), "seed": 1, "epoch": 1, "n_draws": 5}
    case |= {"member_keys": keys(4), "candidate_keys": keys(5)}
    with pytest.raises(ContractError, match=text):
        replayed_hits(**case | change)
