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

from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import Caps, Terms, check_caps, check_fatigue, check_sets, check_terms
from decider_core.compile import F32, F64, I16, I64, U8, kernel
from decider_core.contracts import check_array
from decider_core.normal_tail import half_tail
from decider_core.set_integral import RULES, Space, new_space, set_integral
from decider_core.values import check_posterior

LANES: Final = 64
"""Members looked at together."""
_NEVER: Final = 1e30
"""As far below as makes a candidate of no account."""


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
    exactly the price as not sent. Takes about 5 ns a candidate, and for an
    integral 3 ns times 8 to 24 nodes, or as many for each of several panels.
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
        block = new_block(n_candidates, len(caps.room_channel), len(caps.room_topic))
        space = new_space(n_candidates, RULES)
        _set_choice(sets, mean, sd, reason, fatigue, terms, caps, where, block, space, chances)
    return chances


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


@kernel
def new_block(n_candidates: int, n_channels: int, n_topics: int) -> Block:
    """Return room for what is known of LANES members."""
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
    n_sent = n_others = 0
    for k in range(len(block.net)):
        if block.sent[k, i] != 0:
            space.sent.net[n_sent], space.sent.inverse[n_sent] = block.net[k, i], block.inverse[k, i]
            n_sent += 1
        elif block.net[k, i] > -_NEVER:
            space.others.net[n_others], space.others.inverse[n_others] = block.net[k, i], block.inverse[k, i]
            n_others += 1
    # G and H at the bound are less than H, so where that is the lower end their product bounds it from below.
    least_below = block.product[i] if low >= block.bound[i] else 0.0
    return set_integral(low, high, least_below, n_sent, n_others, space)
