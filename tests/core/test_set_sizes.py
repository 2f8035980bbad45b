from __future__ import annotations

import naive_set_sizes as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.admission import least_admitted
from decider_core.assemble import assemble
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.set_sizes import never_fewer, never_more
from tests.core.test_assemble import instance

N_MEMBERS = 60


class AtPrice:
    """An instance whose candidates cost this and that, or nothing, at one price."""

    def __init__(self, seed, coarse, free=False):
        g = np.random.default_rng(seed)
        self.case = instance(seed, n_members=N_MEMBERS, coarse=coarse) | {"tie_cut": 0}
        if seed % 2:
            self.case["cost"] = g.choice([0.0, 0.01, 0.3, 0.7, 1.0], 7).astype(np.float32)
        if free:
            caps = self.case["caps"]
            rooms = {name: np.full_like(getattr(caps, name), 8) for name in ("room_channel", "room_topic")}
            self.case |= {"caps": caps._replace(**rooms), "same_topic_penalty": 0.0}
            self.case["fatigue"] = np.zeros(N_MEMBERS, np.float32)
        self.price = float(np.float32(g.choice([0.0, 0.25, 1.0, g.random(), 3.0 * g.random()])))
        self.g = g

    def at(self, price):
        return np.full(7, price, np.float32)

    def sets_at(self, price):
        return assemble(**self.case | {"price": self.at(price)})[0]

    def taken(self, *more):
        names = ("value", *more, "cost", "caps")
        return {name: self.case[name] for name in names} | {"price": self.at(self.price)}

    def never_fewer(self):
        return never_fewer(self.sets_at(self.price), **self.taken("fatigue", "same_topic_penalty"))

    def never_more(self):
        return never_more(self.sets_at(self.price), **self.taken("reason"))


def sizes(sets):
    return (sets >= 0).sum(axis=0)


@settings(deadline=None, max_examples=10 if INTERPRETED else 200)
@given(st.integers(0, 2**32), st.booleans())
def test_sets_are_never_smaller_below_and_never_larger_above(seed, coarse):
    own = AtPrice(seed, coarse)
    fewer, more, here = own.never_fewer(), own.never_more(), sizes(own.sets_at(own.price))
    bits = int(np.float32(own.price).view(np.uint32))
    near = np.array([max(bits - step, 0) for step in range(8)], np.uint32).view(np.float32).tolist()
    for price in (0.0, *near, *(own.price * own.g.random(12)).tolist()):
        assert (sizes(own.sets_at(price)) >= here)[fewer == 1].all()
    near = np.array([bits + step for step in range(8)], np.uint32).view(np.float32).tolist()
    for price in (1e30, np.inf, *near, *(own.price + own.g.exponential(0.5, 12)).tolist()):
        assert (sizes(own.sets_at(price)) <= here)[more == 1].all()


@settings(deadline=None, max_examples=10 if INTERPRETED else 200)
@given(st.integers(0, 2**32), st.booleans())
def test_equals_twin(seed, coarse):
    own = AtPrice(seed, coarse)
    case, sets = own.case, own.sets_at(own.price)
    least = [least_admitted(cost, np.float32(own.price), False) for cost in case["cost"]]
    penalty = np.float32(case["same_topic_penalty"])
    fewer, more = own.never_fewer(), own.never_more()
    for i in range(N_MEMBERS):
        chosen, value = sets[:, i][sets[:, i] >= 0].tolist(), case["value"][:, i]
        caps = case["caps"]
        assert fewer[i] == naive.never_fewer(chosen, i, value, case["fatigue"][i], penalty, least, caps)
        assert more[i] == naive.never_more(chosen, i, value, case["reason"][:, i], least, caps)


def test_all_are_bounded_that_nothing_binds_but_their_number():
    for seed in range(20):
        own = AtPrice(seed, coarse=False, free=True)
        assert own.never_fewer().all()
        assert own.never_more().all()


def test_some_are_not():
    found = [
        (own.never_fewer(), own.never_more()) for own in (AtPrice(seed, coarse=False) for seed in range(20))
    ]
    for each in zip(*found, strict=True):
        assert 0.5 < np.mean(each) < 0.99


@pytest.mark.parametrize("price", [np.nan, -np.inf])
def test_what_does_not_fit_is_refused(price):
    own = AtPrice(0, coarse=True)
    sets, own.price = own.sets_at(own.price), price
    with pytest.raises(ContractError, match="price must be"):
        never_fewer(sets, **own.taken("fatigue", "same_topic_penalty"))
    with pytest.raises(ContractError, match="price must be"):
        never_more(sets, **own.taken("reason"))
