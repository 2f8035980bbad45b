"""How likely Thompson was to send exactly the set that it sent, where a formula tells.

It does where nothing binds a member's messages to each other but how many there may be, and fatigue. In place p
a message is admitted if its value, net of its price, exceeds p times the fatigue f. So a set S of s messages is sent
if all of S exceed f (s - 1) and everything else, and the best of everything else does not exceed f s, or there is
no room for more. With independent values of distributions F, G the chance that all of S exceed t and H that all
others lie below::

    P(S) = G(f s) H(f s) + integral of (-dG/dt) H from f (s - 1) to f s      where there is room for more
    P(S) = integral of (-dG/dt) H from f (s - 1) on                          where there is none

Without fatigue and with room the integral is empty: one product of as many tails as there are candidates.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import Caps, Terms, check_caps, check_fatigue, check_sets, check_terms
from decider_core.compile import F32, F64, I16, I64, U8, inline, kernel
from decider_core.contracts import check_array
from decider_core.normal_tail import exp_below_1, half_tail
from decider_core.values import check_posterior

LANES: Final = 64
"""Members looked at together."""
_REACH: Final = 8.0
"""Beyond so many standard deviations lies 6e-16 of a normal distribution."""
_PANEL: Final = 8.0
"""The widest panel of an integral, in the smallest standard deviations that matter."""
_MOST_PANELS: Final = 64
"""More are left to replays: standard deviations that are so far apart."""
_RULES: Final = ((1.5, 8), (3.0, 12), (4.5, 16), (6.0, 20), (_PANEL, 24))
"""Gauss-Legendre nodes for panels up to a width."""
_MOST_NODES: Final = _RULES[-1][1]
_NEVER: Final = 1e30
"""As far below as makes a candidate of no account."""
_ROOT_HALF_PI: Final = 1.0 / math.sqrt(2.0 * math.pi)


def _rules() -> tuple[F64, I64, F64, F64]:
    """Widest panel f64[n_rules], number of nodes i64[n_rules], nodes and weights f64[n_rules, _MOST_NODES]."""
    nodes, weights = np.zeros((2, len(_RULES), _MOST_NODES))
    for rule, (_, n_nodes) in enumerate(_RULES):
        nodes[rule, :n_nodes], weights[rule, :n_nodes] = np.polynomial.legendre.leggauss(n_nodes)
    widths, counts = zip(*_RULES, strict=True)
    return np.array(widths), np.array(counts, np.int64), nodes, weights


def set_choice(
    sets: I16,
    mean: F32,
    sd: F32,
    reason: U8,
    fatigue: F32,
    same_topic_penalty: float,
    cost: F32,
    price: F32,
    caps: Caps,
    where: U8 | None = None,
) -> F64:
    """Return the probability that Thompson sends each member this set, in any order; NaN where no formula tells.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates in any place and order, -1 in empty places; as Thompson may send them.
    mean, sd : f32[n_candidates, n_members]
        The posterior of each candidate's uplift; finite and sd not negative where eligible.
    reason, fatigue, same_topic_penalty, cost, price, caps
        As for :func:`decider_core.assemble.assemble`.
    where : u8[n_members], optional
        0 skips a member, whose set may be anything: NaN.

    Returns
    -------
    f64[n_members]
        In (0, 1], within 1e-7 of itself, and 1e-8 for some tens of candidates. NaN where a channel or a topic has
        less room than the member's eligible candidates could take, where two of one topic are eligible and that has
        a penalty, where an eligible candidate has no uncertainty, where the price is infinite, and where standard
        deviations lie so far apart that the integral would take more than 64 panels.

    Raises
    ------
    ContractError
        If an argument breaks the rules above.

    Notes
    -----
    Departs from assembly only where that is a matter of rounding: draws are treated as real numbers, and a message at
    exactly the price as not sent. Takes about 3 ns a candidate, and for an integral that times 8 to 48 nodes.
    """
    mean, sd, reason = check_posterior(mean, sd, reason)
    n_candidates, n_members = mean.shape
    terms = check_terms(cost, price, same_topic_penalty, 0, n_candidates)
    fatigue = check_fatigue(fatigue, n_members)
    caps = check_caps(caps, n_candidates, n_members)
    sets = check_array("sets", sets, np.int16, (caps.max_messages, n_members))
    check_sets(sets, n_candidates)
    where = np.ones(n_members, np.uint8) if where is None else where
    where = check_array("where", where, np.uint8, (n_members,))
    chances = np.full(n_members, np.nan)
    if np.isfinite(terms.price).all():
        block = _block(n_candidates, len(caps.room_channel), len(caps.room_topic))
        space = Space(*_RULE_ARRAYS, *np.empty((5, _MOST_PANELS * _MOST_NODES)))
        _set_choice(sets, mean, sd, reason, fatigue, terms, caps, where, block, space, chances)
    return chances


_RULE_ARRAYS = _rules()


class Block(NamedTuple):
    """What is known of LANES members."""

    net: F64
    """f64[n_candidates, LANES]: mean net of the price; far below where the candidate may not be sent."""
    inverse: F64
    """f64[n_candidates, LANES]: one over the standard deviation."""
    sent: U8
    """u8[n_candidates, LANES]: not 0 where it is in the set."""
    n_channel: I16
    """i16[n_channels, LANES]: eligible candidates of the channel."""
    n_topic: I16
    """i16[n_topics, LANES]: and of the topic."""
    room: I64
    """i64[LANES]: messages that the member may get."""
    tells: U8
    """u8[LANES]: not 0 where the formula tells."""
    size: I64
    """i64[LANES]: messages of the set."""
    bound: F64
    """f64[LANES]: what the others must not exceed, f s."""
    product: F64
    """f64[LANES]: G H there."""


class Space(NamedTuple):
    """The quadrature's rules, and what is known at the nodes of one integral."""

    widths: F64
    n_nodes: I64
    nodes: F64
    weights: F64
    t: F64
    """f64[_MOST_PANELS * _MOST_NODES]: where the nodes are."""
    share: F64
    """Their weights."""
    above: F64
    """G."""
    hazard: F64
    """(-dG/dt) / G."""
    below: F64
    """H."""


def _block(n_candidates: int, n_channels: int, n_topics: int) -> Block:
    return Block(
        np.empty((n_candidates, LANES)),
        np.empty((n_candidates, LANES)),
        np.empty((n_candidates, LANES), np.uint8),
        np.empty((n_channels, LANES), np.int16),
        np.empty((n_topics, LANES), np.int16),
        np.empty(LANES, np.int64),
        np.empty(LANES, np.uint8),
        np.empty(LANES, np.int64),
        np.empty(LANES),
        np.empty(LANES),
    )


@kernel
def _set_choice(
    sets: I16,
    mean: F32,
    sd: F32,
    reason: U8,
    fatigue: F32,
    terms: Terms,
    caps: Caps,
    where: U8,
    block: Block,
    space: Space,
    chances: F64,
) -> None:
    for first in range(0, reason.shape[1], LANES):
        n = min(LANES, reason.shape[1] - first)
        _fill(first, n, sets, mean, sd, reason, fatigue, terms, caps, block)
        _multiply(n, block)
        for i in range(n):
            r = first + i
            if where[r] == 0 or block.tells[i] == 0:
                continue
            full = block.size[i] >= block.room[i]
            chance = 0.0 if full else block.product[i]
            if block.size[i] > 0 and (full or fatigue[r] > np.float32(0.0)):
                low = np.float64(fatigue[r]) * (block.size[i] - 1)
                chance += _integral(r, i, low, np.inf if full else block.bound[i], sets, block, space)
            elif full:
                chance = 1.0  # no room for anything, and nothing was sent
            # Rounding may pass 1; what underflows is left to replays.
            chances[r] = min(chance, 1.0) if chance > 0.0 else np.nan


@kernel
def _fill(
    first: int,
    n: int,
    sets: I16,
    mean: F32,
    sd: F32,
    reason: U8,
    fatigue: F32,
    terms: Terms,
    caps: Caps,
    block: Block,
) -> None:
    block.n_channel[:] = 0
    block.n_topic[:] = 0
    block.tells[:] = 1
    for i in range(n):
        block.room[i] = min(caps.room_member[first + i], len(sets))
    for k in range(len(mean)):
        taken = np.float64(terms.price[k]) * np.float64(terms.cost[k])
        in_channel, in_topic = block.n_channel[caps.channel[k]], block.n_topic[caps.topic[k]]
        net, inverse, sent = block.net[k], block.inverse[k], block.sent[k]
        for i in range(n):
            r = first + i
            eligible = reason[k, r] == 0
            in_channel[i] += np.int16(eligible)
            in_topic[i] += np.int16(eligible)
            uncertain = sd[k, r] > np.float32(0.0)
            block.tells[i] &= np.uint8((not eligible) | uncertain)
            net[i] = np.float64(mean[k, r]) - taken if eligible else -_NEVER
            inverse[i] = 1.0 / np.float64(sd[k, r]) if eligible & uncertain else 1.0
            sent[i] = 0
    for c in range(len(block.n_channel)):
        for i in range(n):
            room = min(caps.room_channel[c, first + i], caps.room_member[first + i])
            block.tells[i] &= np.uint8(
                (room >= caps.room_member[first + i]) | (block.n_channel[c, i] <= room)
            )
    penal = terms.same_topic_penalty > np.float32(0.0)
    for t in range(len(block.n_topic)):
        for i in range(n):
            room = caps.room_topic[t, first + i]
            block.tells[i] &= np.uint8((room >= block.room[i]) | (block.n_topic[t, i] <= room))
            block.tells[i] &= np.uint8((not penal) | (block.n_topic[t, i] <= 1))
    for i in range(n):
        size = 0
        for place in range(len(sets)):
            if sets[place, first + i] >= 0:
                block.sent[sets[place, first + i], i] = 1
                size += 1
        block.size[i] = size
        block.bound[i] = np.float64(fatigue[first + i]) * size


@kernel
def _multiply(n: int, block: Block) -> None:
    product, bound = block.product, block.bound
    product[:] = 1.0
    for k in range(len(block.net)):
        net, inverse, sent = block.net[k], block.inverse[k], block.sent[k]
        for i in range(n):
            x = (bound[i] - net[i]) * inverse[i]
            tail = half_tail(x)
            # Of the set it is the chance to lie above, of the others to lie below.
            product[i] *= tail if (sent[i] != 0) == (x >= 0.0) else 1.0 - tail


@kernel
def _integral(r: int, i: int, low: float, high: float, sets: I16, block: Block, space: Space) -> float:
    # Of (-dG/dt) H from low to high, but where one of the two is negligible; NaN where it takes too many panels.
    begin = np.inf
    for place in range(len(sets)):
        k = sets[place, r]
        if k >= 0:
            reach = _REACH / block.inverse[k, i]
            begin = min(begin, block.net[k, i] - reach)
            high = min(high, block.net[k, i] + reach)
    low = max(low, begin)
    for k in range(len(block.net)):
        if block.sent[k, i] == 0:
            low = max(low, block.net[k, i] - _REACH / block.inverse[k, i])
    if low >= high:
        return 0.0
    sharpest = 0.0
    for k in range(len(block.net)):
        if block.net[k, i] + _REACH / block.inverse[k, i] > low:
            sharpest = max(sharpest, block.inverse[k, i])
    n_panels = math.ceil((high - low) * sharpest / _PANEL)
    if n_panels > _MOST_PANELS:
        return np.nan
    n_nodes = _lay_nodes(low, high, n_panels, sharpest, space)
    t, above, hazard, below = (
        space.t[:n_nodes],
        space.above[:n_nodes],
        space.hazard[:n_nodes],
        space.below[:n_nodes],
    )
    above[:] = 1.0
    hazard[:] = 0.0
    below[:] = 1.0
    for k in range(len(block.net)):
        net, inverse = block.net[k, i], block.inverse[k, i]
        if block.sent[k, i] != 0:
            _add_sent(t, net, inverse, above, hazard)
        elif net + _REACH / inverse > low:
            _add_other(t, net, inverse, below)
    total = 0.0
    for q in range(n_nodes):
        total += space.share[q] * above[q] * hazard[q] * below[q]
    return total


@kernel
def _lay_nodes(low: float, high: float, n_panels: int, sharpest: float, space: Space) -> int:
    half = 0.5 * (high - low) / n_panels
    rule = 0
    while rule < space.widths.size - 1 and 2.0 * half * sharpest > space.widths[rule]:
        rule += 1
    n_nodes = space.n_nodes[rule]
    for panel in range(n_panels):
        for q in range(n_nodes):
            space.t[panel * n_nodes + q] = low + half * (2.0 * panel + 1.0 + space.nodes[rule, q])
            space.share[panel * n_nodes + q] = half * space.weights[rule, q]
    return int(n_panels * n_nodes)


@inline
def _add_sent(t: F64, net: float, inverse: float, above: F64, hazard: F64) -> None:
    for q in range(t.size):
        x = (t[q] - net) * inverse
        tail = half_tail(x)
        tail = tail if x >= 0.0 else 1.0 - tail
        above[q] *= tail
        # Far below, the density is nothing beside a tail of 1: it only must not underflow in exp.
        density = exp_below_1(-0.5 * min(x * x, 100.0)) * (_ROOT_HALF_PI * inverse)
        hazard[q] += density / tail


@inline
def _add_other(t: F64, net: float, inverse: float, below: F64) -> None:
    for q in range(t.size):
        x = (t[q] - net) * inverse
        tail = half_tail(x)
        below[q] *= 1.0 - tail if x >= 0.0 else tail
