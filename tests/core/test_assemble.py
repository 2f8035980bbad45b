import math

import naive_assemble as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.admission import gain_rates, least_admitted
from decider_core.assemble import Caps, assemble
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError

N_MEMBERS = 12 if INTERPRETED else 700


def instance(seed, n_members=6, n_candidates=7, max_messages=3, coarse=True, equal_costs=False):
    """A random instance; coarse values make ties, random rooms make caps bind."""
    g = np.random.default_rng(seed)
    value = g.normal(0.5, 1.0, (n_candidates, n_members))
    value = (np.round(value * 4) / 4 if coarse else value).astype(np.float32)
    fatigue = (g.integers(0, 3, n_members) / 4 if coarse else g.random(n_members)).astype(np.float32)
    cost = g.choice([0.0, 0.5, 1.0, 3.0], n_candidates).astype(np.float32)
    if equal_costs:
        cost[:] = g.choice([0.0, 0.3, 1.0])
    caps = Caps(
        g.integers(0, 2, n_candidates).astype(np.int32),
        g.integers(0, 3, n_candidates).astype(np.int32),
        g.integers(0, max_messages + 1, n_members).astype(np.int16),
        g.integers(0, max_messages + 1, (2, n_members)).astype(np.int16),
        g.integers(0, max_messages + 1, (3, n_members)).astype(np.int16),
        max_messages,
    )
    return {
        "value": value,
        "reason": (g.random(value.shape) < 0.2).astype(np.uint8) * 3,
        "fatigue": fatigue,
        "same_topic_penalty": float(g.choice([0.0, 0.25])),
        "cost": cost,
        "price": np.full(n_candidates, g.choice([-math.inf, -0.5, 0.0, 0.25, 1.0]), np.float32),
        "tie_cut": (0, 1 << 63, (1 << 64) - 1)[g.integers(3)],
        "tie_keys": g.integers(0, 1 << 60, n_members).astype(np.uint64) << np.uint64(4),
        "caps": caps,
    }


def twin(case):
    return naive.assemble(**{n: v for n, v in case.items() if n != "caps"}, **case["caps"]._asdict())


def take(case, members):
    """The same instance for some members, in the order given."""
    caps = case["caps"]
    return case | {
        "value": np.ascontiguousarray(case["value"][:, members]),
        "reason": np.ascontiguousarray(case["reason"][:, members]),
        "fatigue": case["fatigue"][members],
        "tie_keys": case["tie_keys"][members],
        "caps": caps._replace(
            room_member=caps.room_member[members],
            room_channel=np.ascontiguousarray(caps.room_channel[:, members]),
            room_topic=np.ascontiguousarray(caps.room_topic[:, members]),
        ),
    }


def roomy(case):
    """The same instance without caps."""
    caps = case["caps"]
    m = caps.max_messages
    return case | {
        "caps": caps._replace(
            room_member=np.full_like(caps.room_member, m),
            room_channel=np.full_like(caps.room_channel, m),
            room_topic=np.full_like(caps.room_topic, m),
        )
    }


@settings(deadline=None, max_examples=30 if INTERPRETED else 300)
@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans())
def test_equals_twin(seed, max_messages, coarse):
    case = instance(seed, max_messages=max_messages, coarse=coarse)
    sets, gains = assemble(**case)
    ref_sets, ref_gains = twin(case)
    np.testing.assert_array_equal(sets, ref_sets)
    np.testing.assert_array_equal(gains, ref_gains)


def test_equals_twin_across_blocks():
    case = instance(5, n_members=N_MEMBERS, n_candidates=20, coarse=False)
    case["price"][:] = 0.3
    sets, gains = assemble(**case)
    ref_sets, ref_gains = twin(case)
    np.testing.assert_array_equal(sets, ref_sets)
    np.testing.assert_array_equal(gains, ref_gains)
    assert (sets >= 0).sum() > N_MEMBERS / 2


@settings(deadline=None, max_examples=30 if INTERPRETED else 300)
@given(st.integers(0, 2**32), st.booleans())
def test_certificate(seed, coarse):
    """Caps are kept, all in the set were admitted, and nothing feasible that was left out is."""
    case = instance(seed, coarse=coarse)
    sets, gains = assemble(**case)
    caps = case["caps"]
    rooms = (case["reason"], *caps[:5])
    for i in range(sets.shape[1]):
        chosen = [int(k) for k in sets[:, i] if k >= 0]
        key = int(case["tie_keys"][i])
        for place, k in enumerate(chosen):
            assert naive.feasible(k, i, chosen[:place], *rooms)
            assert naive.admitted(
                gains[place, i], case["cost"][k], case["price"][k], key | place, case["tie_cut"]
            )
        for k in range(len(case["cost"])):
            if len(chosen) < caps.max_messages and naive.feasible(k, i, chosen, *rooms):
                delta = naive.gain(
                    case["value"][k, i], case["fatigue"][i], case["same_topic_penalty"], k, chosen, caps.topic
                )
                tied = key | len(chosen)
                assert not naive.admitted(delta, case["cost"][k], case["price"][k], tied, case["tie_cut"])


@settings(deadline=None, max_examples=30 if INTERPRETED else 200)
@given(st.integers(0, 2**32))
def test_reaches_the_optimum_where_greedy_is_optimal(seed):
    """Without fatigue, penalty and caps no subset is worth more after its price."""
    case = roomy(instance(seed, coarse=False))
    case |= {"fatigue": np.zeros_like(case["fatigue"]), "same_topic_penalty": 0.0, "tie_cut": 0}
    case["reason"][:] = 0
    case["price"] = np.full_like(case["price"], 0.4)
    sets, _ = assemble(**case)
    for i in range(sets.shape[1]):
        chosen = sets[:, i][sets[:, i] >= 0]
        value = case["value"][:, i]
        reached = math.fsum(
            float(value[k]) - float(case["price"][k]) * float(case["cost"][k]) for k in chosen
        )
        best = naive.best_subset(value, case["cost"], case["price"], case["caps"].max_messages)
        assert reached == pytest.approx(best, abs=1e-5)


@settings(deadline=None, max_examples=30 if INTERPRETED else 200)
@given(st.integers(0, 2**32), st.sampled_from([-1.0, 0.0, 0.25, 0.3, 2.0]))
def test_equal_costs_give_a_prefix_of_the_path(seed, price):
    case = instance(seed, equal_costs=True)
    path, path_gains = assemble(**case | {"price": np.full_like(case["price"], -np.inf)})
    sets, gains = assemble(**case | {"price": np.full_like(case["price"], price)})
    n_messages = (sets >= 0).sum(axis=0)
    kept = np.arange(len(sets))[:, None] < n_messages
    np.testing.assert_array_equal(sets, np.where(kept, path, -1))
    np.testing.assert_array_equal(gains, np.where(kept, path_gains, np.nan))
    rates = gain_rates(path_gains, path, case["cost"])
    assert not (np.diff(rates[:, case["cost"][0] > 0], axis=0) > 0).any()


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_same_bits_in_any_batch(chunk):
    case = instance(11, n_members=40 if INTERPRETED else 9000, n_candidates=20, max_messages=4, coarse=False)
    sets, gains = assemble(**case)
    order = np.random.default_rng(3).permutation(sets.shape[1])
    for first in range(0, order.size, chunk):
        members = order[first : first + chunk]
        part_sets, part_gains = assemble(**take(case, members))
        np.testing.assert_array_equal(part_sets, sets[:, members])
        np.testing.assert_array_equal(part_gains.view(np.uint32), gains[:, members].view(np.uint32))


@pytest.mark.parametrize("n_members", [1, 63, 64, 65, 127, 128, 129, 193, 300])
@pytest.mark.parametrize("level", [False, True])
def test_blocks_with_and_without_limits_equal_twin(n_members, level):
    """Members with full room stand beside members without: each block takes the path its limits allow."""
    n_members = min(n_members, 70) if INTERPRETED else n_members
    case = instance(n_members, n_members, n_candidates=9, equal_costs=level)
    case["price"] = np.full_like(case["price"], 0.25)
    for same_topic_penalty, limited in ((0.0, []), (0.0, range(n_members // 2)), (0.25, []), (0.25, [0])):
        free = roomy(case)
        for name in ("room_member", "room_channel", "room_topic"):
            getattr(free["caps"], name)[..., limited] = getattr(case["caps"], name)[..., limited]
        free["same_topic_penalty"] = same_topic_penalty
        for got, ref in zip(assemble(**free), twin(free), strict=True):
            np.testing.assert_array_equal(got, ref)


def test_one_topic_alone_with_limits_equals_twin():
    case = roomy(instance(3, n_members=70, n_candidates=9, max_messages=4))
    case["same_topic_penalty"] = 0.0
    for name in ("room_channel", "room_topic"):
        limited = case | {"caps": case["caps"]._replace(**{name: getattr(case["caps"], name) - np.int16(3)})}
        for got, ref in zip(assemble(**limited), twin(limited), strict=True):
            np.testing.assert_array_equal(got, ref)


EXTREME = [0.0, 1e-45, 1e-38, 0.1, 0.3, 1.0, 3.0, 1e20, 3.4e38]


@settings(deadline=None, max_examples=100 if INTERPRETED else 2000)
@given(
    st.one_of(st.sampled_from(EXTREME), st.floats(0, 2.0**100, width=32)),
    st.one_of(
        st.sampled_from([-math.inf, math.inf, *EXTREME, *(-c for c in EXTREME)]),
        st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.booleans(),
)
def test_least_admitted_is_the_least(cost, price, below_cut):
    """What mixed costs compare with stands exactly where the rounded rate begins to be admitted."""
    cost, price = np.float32(cost), np.float32(price)
    least = least_admitted(cost, price, below_cut)
    largest = np.finfo(np.float32).max

    def admitted(delta):
        with np.errstate(all="ignore"):
            return naive.admitted(delta, cost, price, 0, int(below_cut))

    assert least == np.inf or admitted(least)
    if least > -largest:
        assert not admitted(np.nextafter(least, np.float32(-np.inf)))


def test_lower_index_wins_a_tie():
    case = roomy(instance(0, n_members=1))
    case["value"][:] = 1.0
    case["reason"][:] = 0
    case["reason"][0] = 2
    case |= {"fatigue": np.zeros(1, np.float32), "same_topic_penalty": 0.0}
    case["cost"][:] = 1.0
    sets, _ = assemble(**case)
    assert sets[:, 0].tolist() == [1, 2, 3]


def test_larger_gain_wins_when_worth_the_same_after_the_price():
    case = roomy(instance(0, n_members=1, n_candidates=2, max_messages=1))
    case["value"][:, 0] = [1.5, 2.5]
    case["cost"][:] = [1.0, 3.0]
    case["price"][:] = 0.5
    case["reason"][:] = 0
    sets, _ = assemble(**case)
    assert sets[0, 0] == 1


def test_tie_cut_admits_the_keys_below_it():
    case = roomy(instance(0, n_members=3, n_candidates=1, max_messages=1))
    case["value"][:] = 0.75
    case["reason"][:] = 0
    case["cost"][:] = 3.0
    case["price"][:] = 0.25
    case["tie_keys"] = np.array([0, 32, 64], np.uint64)
    admitted = [
        (assemble(**case | {"tie_cut": cut})[0][0] >= 0).tolist() for cut in (0, 32, 33, (1 << 64) - 1)
    ]
    assert admitted == [[False] * 3, [True, False, False], [True, True, False], [True] * 3]


def test_free_candidates_ignore_the_price():
    case = roomy(instance(0, n_members=3, n_candidates=1, max_messages=1))
    case["value"][0] = [-1.0, 0.0, 1e-9]
    case["reason"][:] = 0
    case["cost"][:] = 0.0
    case["tie_cut"] = 0
    for price in (-np.inf, -1.0, 5.0):
        sets, gains = assemble(**case | {"price": np.full(1, price, np.float32)})
        assert sets[0].tolist() == [-1, -1, 0]
    rates = gain_rates(np.array([[-1.0, 0.0, 1e-9]], np.float32), np.zeros((1, 3), np.int16), case["cost"])
    assert rates.tolist() == [[-np.inf, -np.inf, np.inf]]
    assert gains[0, 2] == np.float32(1e-9)


def test_values_of_barred_candidates_are_not_read():
    case = instance(1)
    barred = case["reason"] != 0
    sets, _ = assemble(**case)
    value = case["value"].copy()
    value[barred] = np.nan
    other, _ = assemble(**case | {"value": value})
    assert barred.any()
    np.testing.assert_array_equal(sets, other)


def test_inputs_are_untouched_and_may_be_read_only():
    case = instance(2)
    arrays = [v for v in (*case.values(), *case["caps"]) if isinstance(v, np.ndarray)]
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    assemble(**case)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_writes_into_out():
    case = instance(3)
    sets, gains = assemble(**case)
    out = np.zeros_like(sets), np.zeros_like(gains)
    returned = assemble(**case, out=out)
    assert returned[0] is out[0]
    np.testing.assert_array_equal(out[0], sets)
    np.testing.assert_array_equal(out[1], gains)


def test_gain_rates_equal_twin():
    case = instance(4, n_members=50, coarse=False)
    sets, gains = assemble(**case)
    ref = naive.gain_rates(gains, sets, case["cost"])
    np.testing.assert_array_equal(gain_rates(gains, sets, case["cost"]), ref)


def test_no_members_and_no_candidates():
    case = take(instance(0), np.zeros(0, np.intp))
    assert assemble(**case)[0].shape == (3, 0)
    case = instance(0, n_candidates=1)
    none = {n: case[n][:0] for n in ("value", "reason", "cost", "price")}
    caps = case["caps"]._replace(channel=np.zeros(0, np.int32), topic=np.zeros(0, np.int32))
    sets, gains = assemble(**case | none | {"caps": caps})
    assert (sets == -1).all()
    assert np.isnan(gains).all()


def broken(name, value):
    def breaks(case):
        return case | {name: value(case[name])}

    return breaks


def put(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("breaks", "text"),
    [
        (broken("value", lambda v: v.astype(np.float64)), "value must have dtype float32, got float64"),
        (broken("reason", lambda v: v[:2]), "reason must have shape"),
        (broken("fatigue", lambda v: put(v, 2, -0.5)), r"fatigue must be in .* got -0.5 at \[2\]"),
        (broken("fatigue", lambda v: put(v, 1, np.nan)), r"fatigue must be in .* got nan at \[1\]"),
        (broken("same_topic_penalty", lambda _: -1.0), "same_topic_penalty must be"),
        (broken("cost", lambda v: put(v, 3, -1)), r"cost must be in .* got -1.0 at \[3\]"),
        (broken("price", lambda v: put(v, 0, np.nan)), "price must be in"),
        (broken("tie_cut", lambda _: -1), r"tie_cut must be in \[0, 2\^64\), got -1"),
        (broken("caps", lambda c: c._replace(max_messages=9)), r"max_messages must be in \[1, 8\], got 9"),
        (broken("caps", lambda c: c._replace(topic=put(c.topic, 1, 3))), r"topic must be in \[0, 2\], got 3"),
        (broken("caps", lambda c: c._replace(channel=put(c.channel, 1, -1))), r"channel must be in \[0, 1\]"),
    ],
)
def test_refuses(breaks, text):
    with pytest.raises(ContractError, match=text):
        assemble(**breaks(instance(0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_an_eligible_value_that_is_not_finite(bad):
    case = instance(0, n_members=N_MEMBERS)
    case["reason"][2, N_MEMBERS - 3] = 0
    case["value"][2, N_MEMBERS - 3] = bad
    with pytest.raises(
        ContractError, match=rf"value must be finite where eligible, got .* at \[2, {N_MEMBERS - 3}\]"
    ):
        assemble(**case)
