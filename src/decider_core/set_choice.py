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
_DECAY: Final = 72.0
"""Of the sum of squared standard deviations, as leaves 2e-16 of a product of tails; the most that is ever needed."""
_LEFT_OUT: Final = 1e-9
"""Of the integral."""
_PANEL: Final = 8.0
"""The widest panel of an integral, in the smallest standard deviations that matter."""
_MOST_PANELS: Final = 64
"""More are left to replays: standard deviations that are so far apart."""
_RULES: Final = ((1.5, 8), (4.5, 16), (_PANEL, 24))
"""Gauss-Legendre nodes for panels up to a width: whole vectors of them."""
_MOST_NODES: Final = _RULES[-1][1]
_ASIDE: Final = 6.5
"""Of another candidate whose value is so many standard deviations below t, at least: 4e-11 to exceed it."""
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
    exactly the price as not sent. Takes about 3 ns a candidate, and for an integral that times 8 to 24 nodes, or as many for each of several panels.
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
        sent, others = (Normals(*np.empty((3, n_candidates))) for _ in range(2))
        space = Space(*_RULE_ARRAYS, sent, others, *np.empty((5, _MOST_PANELS * _MOST_NODES)))
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
    """f64[LANES]: what the others must not exceed, f s; where a set is full all of it must exceed f (s - 1)."""
    product: F64
    """f64[LANES]: G H there."""


class Normals(NamedTuple):
    """The values of some candidates of one member, f64[n_candidates] each."""

    net: F64
    sd: F64
    inverse: F64


class Space(NamedTuple):
    """The quadrature's rules, the candidates of one member, and what is known at the nodes of one integral."""

    widths: F64
    n_nodes: I64
    nodes: F64
    weights: F64
    sent: Normals
    others: Normals
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
                chance += _integral(i, low, np.inf if full else block.bound[i], block, space)
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
    end = first + n
    block.n_channel[:] = 0
    block.n_topic[:] = 0
    block.sent[:] = 0
    block.tells[:] = 1
    tells, room_member = block.tells[:n], caps.room_member[first:end]
    for i in range(n):
        block.room[i] = min(room_member[i], len(sets))
    for k in range(len(mean)):
        taken = np.float64(terms.price[k]) * np.float64(terms.cost[k])
        barred = reason[k, first:end]
        _add_eligible(barred, block.n_channel[caps.channel[k]])
        _add_eligible(barred, block.n_topic[caps.topic[k]])
        _put_net(mean[k, first:end], barred, taken, block.net[k])
        _put_inverse(sd[k, first:end], barred, block.inverse[k])
        _bar_certain(sd[k, first:end], barred, tells)
    for c in range(len(block.n_channel)):
        room, n_eligible = caps.room_channel[c, first:end], block.n_channel[c]
        for i in range(n):
            tells[i] &= np.uint8((room[i] >= room_member[i]) | (n_eligible[i] <= room[i]))
    penal = terms.same_topic_penalty > np.float32(0.0)
    for t in range(len(block.n_topic)):
        room, n_eligible = caps.room_topic[t, first:end], block.n_topic[t]
        for i in range(n):
            tells[i] &= np.uint8((room[i] >= block.room[i]) | (n_eligible[i] <= room[i]))
            tells[i] &= np.uint8((not penal) | (n_eligible[i] <= 1))
    block.size[:n] = 0
    for place in range(len(sets)):
        for i in range(n):
            k = sets[place, first + i]
            if k >= 0:
                block.sent[k, i] = 1
                block.size[i] += 1
    for i in range(n):
        full = block.size[i] > 0 and block.size[i] >= block.room[i]
        block.bound[i] = np.float64(fatigue[first + i]) * (block.size[i] - full)


# One subject a loop: so that each becomes one over vectors.


@kernel
def _add_eligible(barred: U8, count: I16) -> None:
    for i in range(barred.size):
        count[i] += np.int16(barred[i] == 0)


@kernel
def _put_net(mean: F32, barred: U8, taken: float, net: F64) -> None:
    for i in range(mean.size):
        net[i] = np.float64(mean[i]) - taken if barred[i] == 0 else -_NEVER


@kernel
def _put_inverse(sd: F32, barred: U8, inverse: F64) -> None:
    for i in range(sd.size):
        known = (barred[i] == 0) & (sd[i] > np.float32(0.0))
        inverse[i] = 1.0 / (np.float64(sd[i]) if known else 1.0)


@kernel
def _bar_certain(sd: F32, barred: U8, tells: U8) -> None:
    for i in range(sd.size):
        tells[i] &= np.uint8((barred[i] != 0) | (sd[i] > np.float32(0.0)))


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
def _integral(i: int, low: float, high: float, block: Block, space: Space) -> float:
    # Of (-dG/dt) H from low to high, but where one of the two is negligible; NaN where it takes too many panels.
    n_sent, n_others = _part(i, block, space)
    sent = Normals(space.sent.net[:n_sent], space.sent.sd[:n_sent], space.sent.inverse[:n_sent])
    others = Normals(space.others.net[:n_others], space.others.sd[:n_others], space.others.inverse[:n_others])
    begin = np.inf
    for j in range(n_sent):
        begin = min(begin, sent.net[j] - _REACH * sent.sd[j])
    low = max(low, begin)
    for j in range(n_others):
        low = max(low, others.net[j] - _REACH * others.sd[j])
    if low >= high:
        return 0.0
    # H rises, so the integral is at least G(low) H(low), and H(low) at least what the product is below low.
    decay = _DECAY
    if low >= block.bound[i]:
        decay = min(decay, -2.0 * math.log(_LEFT_OUT * max(block.product[i], 1e-300)))
    high = min(high, _end(low, decay, sent))
    if low >= high:
        return 0.0
    sharpest = 0.0
    for j in range(n_sent):
        sharpest = max(sharpest, sent.inverse[j])
    n_near = 0
    for j in range(n_others):
        if others.net[j] + _ASIDE * others.sd[j] > low:
            others.net[n_near], others.inverse[n_near] = others.net[j], others.inverse[j]
            sharpest = max(sharpest, others.inverse[j])
            n_near += 1
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
    for j in range(n_sent):
        _add_sent(t, sent.net[j], sent.inverse[j], above, hazard)
    for j in range(n_near):
        _add_other(t, others.net[j], others.inverse[j], below)
    total = 0.0
    for q in range(n_nodes):
        total += space.share[q] * above[q] * hazard[q] * below[q]
    return total


@kernel
def _part(i: int, block: Block, space: Space) -> tuple[int, int]:
    # The candidates of one member, those of the set and the others; how many there are of each.
    n_sent = n_others = 0
    for k in range(len(block.net)):
        if block.sent[k, i] != 0:
            space.sent.net[n_sent], space.sent.inverse[n_sent] = block.net[k, i], block.inverse[k, i]
            n_sent += 1
        elif block.net[k, i] > -_NEVER:
            space.others.net[n_others], space.others.inverse[n_others] = block.net[k, i], block.inverse[k, i]
            n_others += 1
    for j in range(n_sent):
        space.sent.sd[j] = 1.0 / space.sent.inverse[j]
    for j in range(n_others):
        space.others.sd[j] = 1.0 / space.others.inverse[j]
    return n_sent, n_others


@kernel
def _end(low: float, decay: float, sent: Normals) -> float:
    # Where G is at most exp(-decay/2) of what it is at low: a tail falls by exp((x0^2 - x1^2)/2) at least from x0 >= 0 to x1.
    goal, end = decay, np.inf
    for j in range(sent.net.size):
        goal += (max(low - sent.net[j], 0.0) * sent.inverse[j]) ** 2
    for j in range(sent.net.size):
        end = min(end, sent.net[j] + math.sqrt(goal) * sent.sd[j])
    # Newton's steps on a convex sum of squares, from beyond: none goes too far.
    for _ in range(4):
        beyond, slope = -goal, 0.0
        for j in range(sent.net.size):
            x = max(end - sent.net[j], 0.0) * sent.inverse[j]
            beyond += x * x
            slope += 2.0 * x * sent.inverse[j]
        end -= beyond / slope
    return end


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
