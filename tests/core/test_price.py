import math

import naive_price as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core import price as core_price
from decider_core.admission import gain_rates
from decider_core.assemble import Caps, assemble
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.price import Price, RateHistogram, price_for_volume

EXAMPLES = 20 if INTERPRETED else 200
N_MEMBERS = 200 if INTERPRETED else 20_000


def instance(seed, n_members=30, max_messages=3, levels=None):
    """Rates, many of them equal if `levels` is small, with NaN where a path has ended."""
    g = np.random.default_rng(seed)
    rates = g.normal(0.2, 1.0, (max_messages, n_members))
    if levels:
        rates = np.round(rates * levels) / levels
    rates[g.random(rates.shape) < 0.2] = np.nan
    rates = -np.sort(-rates, axis=0)
    keys = g.integers(0, 1 << 60, n_members).astype(np.uint64) << np.uint64(4)
    return rates.astype(np.float32), keys


def members(seed, n, equal_cost, levels=None, n_candidates=6, max_messages=3):
    """The arguments of `assemble` but price and tie_cut."""
    g = np.random.default_rng(seed)
    value = g.normal(0.2, 1.0, (n_candidates, n))
    cost = (
        np.full(n_candidates, equal_cost) if equal_cost is not None else g.choice([0.5, 1, 2], n_candidates)
    )
    room = g.integers(1, max_messages + 1, (2, n)).astype(np.int16)
    return {
        "value": (np.round(value * levels) / levels if levels else value).astype(np.float32),
        "reason": (g.random((n_candidates, n)) < 0.2).astype(np.uint8),
        "fatigue": (g.integers(0, 3, n) / 8).astype(np.float32),
        "same_topic_penalty": 0.125,
        "cost": cost.astype(np.float32),
        "tie_keys": g.integers(0, 1 << 60, n).astype(np.uint64) << np.uint64(4),
        "caps": Caps(
            (np.arange(n_candidates) % 2).astype(np.int32),
            (np.arange(n_candidates) % 3).astype(np.int32),
            g.integers(0, max_messages + 1, n).astype(np.int16),
            room,
            np.full((3, n), 2, np.int16),
            max_messages,
        ),
    }


def assembled(case, price, tie_cut=0):
    return assemble(price=np.full(len(case["cost"]), price, np.float32), tie_cut=tie_cut, **case)


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    st.integers(0, 2**32),
    st.sampled_from([None, 1, 4]),
    st.integers(0, 95),
    st.sampled_from([0.0, -1.0, 0.5, -math.inf]),
)
def test_equals_twin(seed, levels, budget, floor):
    rates, keys = instance(seed, levels=levels)
    price = price_for_volume(rates, keys, budget, floor)
    theta, out, n_above = naive.price_for_volume(rates, keys, budget, floor)
    assert (price.theta, price.n_above) == (theta, n_above)
    assert price.theta.dtype == np.float32
    assert price.n_above + price.n_tied_admitted == len(out)
    assert naive.goes_out(rates, keys, price.theta, int(price.tie_cut)) == out


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    st.integers(0, 2**32),
    st.sampled_from([None, 1, 4]),
    st.integers(0, 80),
    st.sampled_from([0.0, 0.3, 1.0, 3.0]),
)
def test_assembling_at_the_price_sends_exactly_the_budget(seed, levels, budget, cost):
    case = members(seed, 40, cost, levels)
    path, gains = assembled(case, -np.inf)
    rates = gain_rates(gains, path, case["cost"])
    price = price_for_volume(rates, case["tie_keys"], budget)
    sets, _ = assembled(case, price.theta, price.tie_cut)
    assert (sets >= 0).sum() == min(budget, (rates > 0).sum()) == price.n_above + price.n_tied_admitted


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("few", [1 << 20, 10])
def test_exact_volume_for_many_members_also_with_massive_ties(share, levels, few, monkeypatch):
    monkeypatch.setattr(core_price, "_FEW", few)
    case = members(1, N_MEMBERS, 1.0, levels)
    path, gains = assembled(case, -np.inf)
    rates = gain_rates(gains, path, case["cost"])
    budget = int(share * N_MEMBERS)
    price = price_for_volume(rates, case["tie_keys"], budget)
    sets, _ = assembled(case, price.theta, price.tie_cut)
    assert (sets >= 0).sum() == budget
    assert (price.n_tied_admitted > 0) == (levels is not None and share > 0)


def test_same_price_from_any_chunks_in_any_order():
    rates, keys = instance(3, n_members=500, levels=2)
    for budget in (0, 1, 77, 400, 5000):
        whole = price_for_volume(rates, keys, budget)
        for size in (1, 7, 4096):
            starts = np.random.default_rng(size).permutation(np.arange(0, 500, size))
            parts = [slice(a, a + size) for a in starts]
            chunked = price_for_volume([rates[:, p] for p in parts], [keys[p] for p in parts], budget)
            assert chunked == whole


def test_merged_histograms_equal_one():
    rates, keys = instance(5, n_members=400)
    one, left, right = RateHistogram(), RateHistogram(), RateHistogram()
    one.add(rates)
    left.add(rates[:, :150])
    right.add(rates[:, 150:])
    left.merge(right)
    np.testing.assert_array_equal(left.counts, one.counts)
    assert left.n_counted == (rates > 0).sum()
    fine, other = left.refined(100), one.refined(100)
    fine.add(rates[:, 150:])
    other.add(rates[:, :150])
    fine.merge(other)
    price = price_for_volume(rates, keys, 100)
    assert fine.rate_at(100) == (price.theta, price.n_above)


def test_histogram_orders_every_kind_of_float():
    numbers = np.array([np.inf, 3e38, 1.5, 1.0, 1e-45, 0.0, -0.0, -1e-45, -2.0, -3e38], np.float32)[None]
    keys = np.zeros(10, np.uint64) + np.arange(10, dtype=np.uint64) * np.uint64(16)
    for rank, number in enumerate(numbers[0]):
        price = price_for_volume(numbers[:, ::-1].copy(), keys, rank, -np.inf)
        assert price.theta == number
        assert price.n_above == rank - (rank == 6)


def test_volume_below_the_budget_leaves_the_floor():
    rates = np.array([[2.0, 0.5, np.nan]], np.float32)
    keys = np.array([16, 32, 48], np.uint64)
    assert price_for_volume(rates, keys, 5) == Price(np.float32(0), np.uint64(0), 2, 0)
    assert price_for_volume(rates, keys, 5, 0.5) == Price(np.float32(0.5), np.uint64(0), 1, 0)
    assert price_for_volume(np.zeros((3, 0), np.float32), keys[:0], 0) == Price(
        np.float32(0), np.uint64(0), 0, 0
    )


def test_free_messages_tie_at_infinity():
    rates = np.full((1, 4), np.inf, np.float32)
    keys = np.array([64, 16, 48, 32], np.uint64)
    price = price_for_volume(rates, keys, 2)
    assert price == Price(np.float32(np.inf), np.uint64(48), 0, 2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda r, k: price_for_volume(r, k, -1), "budget must be at least 0, got -1"),
        (lambda r, k: price_for_volume(r, k, 1, math.nan), "floor must be"),
        (lambda r, k: price_for_volume([r, r], [k], 1), "the same number of chunks, got 2 and 1"),
        (
            lambda r, k: price_for_volume([r, r], [k, k[1:]], 1),
            r"tie_keys\[1\] must have shape \(30\)",
        ),
        (lambda r, k: price_for_volume(r.astype(float), k, 1), r"rates\[0\] must have dtype float32"),
        (lambda *_: RateHistogram(0.0).merge(RateHistogram(1.0)), "histograms must have the same floor"),
        (lambda *_: RateHistogram().refined(0), "budget must be below the number of rates counted, 0, got 0"),
        (lambda *_: RateHistogram().rate_at(0), "a histogram must be refined"),
        (lambda *_: RateHistogram(0.0, 5).refined(0), "must count high halves"),
    ],
)
def test_refuses(call, text):
    with pytest.raises(ContractError, match=text):
        call(*instance(0))
