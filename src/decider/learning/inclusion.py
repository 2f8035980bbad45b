"""How likely each candidate is to be in an explored set, and how many pairs are: what the R-learner centres by.

An explore set aims at n messages with probability q(n) and picks one after another in proportion to weight
among the candidates that are eligible. That is a race of exponential clocks [1]_: candidate c, ringing at time
t with density ``w_c exp(-w_c t)``, is among the first n if fewer than n others have rung by t, and those are
independent given t. So inclusion is one integral over t of a Poisson-binomial probability, the same for all
members with the same eligible candidates.

References
----------
.. [1] Efraimidis, Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97,
       2006.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.learning.sets import held_matrix
from decider_core.assemble import Caps
from decider_core.counts import count_pairs
from decider_core.explore import explore_sets

_MOST_NODES: Final = 1056
"""Nodes of the quadrature at most: enough for a total weight of 512 times the least."""


class Inclusion(NamedTuple):
    """What the R-learner centres by.

    Parameters
    ----------
    probability
        Of each candidate to be in the set, float64 of shape [K, n].
    pairs
        Expectation of ``|S| (|S| - 1) / 2``, float64 of shape [n].
    same_topic
        Expectation of the number of pairs of one topic, float64 of shape [n].
    """

    probability: NDArray[np.float64]
    pairs: NDArray[np.float64]
    same_topic: NDArray[np.float64]


def explore_inclusion(
    count_shares: NDArray[np.float64],
    weight: NDArray[np.float64],
    reason: NDArray[np.uint8],
    topic: NDArray[np.int32],
) -> Inclusion:
    """Return the inclusion of explore sets that no cap binds, exactly.

    Parameters
    ----------
    count_shares
        Probability q(n) of aiming at 0, 1, ... M messages, float64 of shape [M + 1], sums to 1.
    weight
        Exploration weights, float64 of shape [K], greater than 0.
    reason
        0 where a candidate is eligible, uint8 of shape [K, n].
    topic
        int32 of shape [K].

    Raises
    ------
    InvalidInput
        If shares or weights are out of range, or so uneven that the integral would not be exact.

    Notes
    -----
    Computed once for each pattern of eligibility that occurs: in the order of ``K^2 M`` operations for each of
    some hundred nodes, and ``K`` times more per pair of one topic. Caps that bind make other sets likely:
    :func:`simulated_inclusion` holds them.
    """
    _check_draw(count_shares, weight, reason, topic)
    n_candidates, n = reason.shape
    found = Inclusion(np.zeros((n_candidates, n)), np.zeros(n), np.zeros(n))
    packed = np.packbits(reason == 0, axis=0)
    _, first, pattern = np.unique(packed, axis=1, return_index=True, return_inverse=True)
    for place, row in enumerate(first):
        members = np.flatnonzero(pattern.reshape(-1) == place)
        eligible = np.flatnonzero(reason[:, row] == 0)
        of_one = _of_pattern(count_shares, weight[eligible], topic[eligible])
        found.probability[np.ix_(eligible, members)] = of_one.probability
        found.pairs[members] = of_one.pairs
        found.same_topic[members] = of_one.same_topic
    return found


def simulated_inclusion(
    sent: NDArray[np.int16],
    count_shares: NDArray[np.float64],
    weight: NDArray[np.float64],
    reason: NDArray[np.uint8],
    caps: Caps,
    topic: NDArray[np.int32],
    member_keys: NDArray[np.uint64],
    candidate_keys: NDArray[np.uint64],
    *,
    n_draws: int,
    seed: int,
) -> Inclusion:
    """Estimate the inclusion of explore sets under any caps, from draws: those that were sent, and more of their kind.

    Parameters
    ----------
    sent
        The sets whose inclusion is asked for, drawn at random with these arguments; -1 in empty places, int16 of
        shape [M, n]. They count as the first draw.
    count_shares, weight, reason, caps, member_keys, candidate_keys
        As of :func:`decider_core.explore.explore_sets`.
    topic
        int32 of shape [K].
    n_draws
        Draws for each member, 2 or more; the one that was sent is the first of them.
    seed
        Of the others; another than that of the policy whose log this is, or its own set comes twice.

    Raises
    ------
    InvalidInput
        If shares, weights or `n_draws` are out of range, or a set holds a candidate that is not eligible.

    Notes
    -----
    The standard error is ``sqrt(p (1 - p) / n_draws)``, and it pulls effects nowhere: with the sent set as one of R
    draws, ``1{c in S} - p`` is (R-1)/R of its deviation from the mean of the others, whose own error makes it vary
    R/(R-1) times as much. Without it among them, effects would be pulled to zero by about one part in R.
    """
    _check_draw(count_shares, weight, reason, topic)
    if n_draws < 2:
        raise InvalidInput.of("n_draws", "must be >= 2", n_draws)
    n_candidates = len(reason)
    held = held_matrix(sent, n_candidates)
    if (held[reason != 0] > 0.0).any():
        candidate, row = np.argwhere((held > 0.0) & (reason != 0))[0].tolist()
        raise InvalidInput.of("sent", "must hold eligible candidates only", f"{candidate} at row {row}")
    pairs, same_topic = (count.astype(np.float64) for count in count_pairs(sent, topic))
    for draw in range(n_draws - 1):
        sets, _ = explore_sets(seed, draw, count_shares, weight, reason, caps, member_keys, candidate_keys)
        held += held_matrix(sets, n_candidates)
        counted = count_pairs(sets, topic)
        pairs += counted.all
        same_topic += counted.same_topic
    return Inclusion(held / n_draws, pairs / n_draws, same_topic / n_draws)


def _of_pattern(
    count_shares: NDArray[np.float64], weight: NDArray[np.float64], topic: NDArray[np.int32]
) -> Inclusion:
    """Inclusion where all candidates given are eligible; each field without its axis of members."""
    n_eligible = len(weight)
    # Aiming higher than there are candidates is aiming at all of them.
    shares = np.zeros(min(len(count_shares) - 1, n_eligible) + 1)
    np.add.at(shares, np.minimum(np.arange(len(count_shares)), n_eligible), count_shares)
    sizes = np.arange(len(shares))
    pairs = np.array(float(shares @ (sizes * (sizes - 1) / 2)))
    # The probability of aiming at more than j, for j others that rang first.
    beyond = shares[::-1].cumsum()[::-1][1:]
    probability, same_topic = np.zeros((n_eligible, 1)), 0.0
    if len(beyond):
        ratio = weight / weight.min()
        node, node_weight = _nodes(ratio)
        rung = 1.0 - node ** ratio[:, None]
        density = ratio[:, None] * node ** (ratio[:, None] - 1.0)
        for c in range(n_eligible):
            others = _rung_counts(np.delete(rung, c, axis=0), len(beyond))
            probability[c] = (density[c] * (beyond @ others)) @ node_weight
        for c in range(n_eligible):
            for other in np.flatnonzero(topic[:c] == topic[c]):
                counts = _rung_counts(np.delete(rung, [c, int(other)], axis=0), len(beyond) - 1)
                last = density[c] * rung[other] + density[other] * rung[c]
                same_topic += float((last * (beyond[1:] @ counts)) @ node_weight)
    return Inclusion(np.minimum(probability, 1.0), pairs, np.array(same_topic))


def _nodes(ratio: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes in u = exp(-t w_min) on (0, 1), and their weights.

    In u the clock of weight ratio r >= 1 rings with density ``r u^(r - 1)``. With ``u = v^4`` what is
    integrated over v is a polynomial of degree ``4 sum(r)`` where four times the ratios are whole, and as
    smooth as one where they are not.
    """
    n_nodes = int(np.ceil(2 * ratio.sum())) + 32
    if n_nodes > _MOST_NODES:
        rule = f"must sum to at most {(_MOST_NODES - 32) // 2} times the least"
        raise InvalidInput.of("weight", rule, float(ratio.sum()))
    v, weight = _legendre(n_nodes)
    return v**4, weight * 4.0 * v**3


@lru_cache(maxsize=64)
def _legendre(n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, weight = np.polynomial.legendre.leggauss(n_nodes)
    return (x + 1.0) / 2.0, weight / 2.0


def _rung_counts(rung: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Probability that 0, 1, ... most - 1 of independent clocks have rung, float64 of shape [most, Q]."""
    counts = np.zeros((most, rung.shape[1]))
    if most:
        counts[0] = 1.0
    for chance in rung:
        counts[1:] = counts[1:] * (1.0 - chance) + counts[:-1] * chance
        counts[:1] *= 1.0 - chance
    return counts


def _check_draw(
    count_shares: NDArray[np.float64],
    weight: NDArray[np.float64],
    reason: NDArray[np.uint8],
    topic: NDArray[np.int32],
) -> None:
    if not ((count_shares >= 0).all() and abs(count_shares.sum() - 1.0) <= 1e-9):
        raise InvalidInput.of("count_shares", "must be >= 0 and sum to 1", count_shares.tolist())
    if weight.shape != (len(reason),) or not ((weight > 0) & np.isfinite(weight)).all():
        rule = f"must be {len(reason)} finite numbers > 0"
        raise InvalidInput.of("weight", rule, weight.tolist())
    if topic.shape != weight.shape:
        raise InvalidInput.of("topic", f"must have shape {weight.shape}", topic.shape)
