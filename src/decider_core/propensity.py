"""How likely Thompson was to send what it sent: exactly for one message, by replayed draws for sets."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core.admission import charge_of, rate_of
from decider_core.caps import Terms, check_terms
from decider_core.compile import F32, F64, I16, I32, I64, U8, inline, kernel
from decider_core.contracts import check_array, check_finite
from decider_core.replay import replayed_hits as replayed_hits
from decider_core.values import check_posterior

# Beyond this many standard deviations lies 3e-14 of a normal distribution.
_REACH: Final = 7.5
# Gauss-Legendre nodes for each panel of this many (smallest) standard deviations.
_N_NODES: Final = 24
_PANEL: Final = 4.0
_NEGLIGIBLE: Final = 1e-15


def of_strata(stratum: U8, explore: int, exploit: int, drawn: F64, exploited: float) -> F64:
    """Return the propensities that strata tell, f64[n_members]: `drawn` where it explores, else 1.

    Parameters
    ----------
    stratum : u8[n_members]
    explore, exploit
        Codes of strata.
    drawn : f64[n_members]
        Propensities of sets drawn at random.
    exploited
        What those have who exploit.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape.
    """
    stratum = check_array("stratum", stratum, np.uint8, (None,))
    drawn = check_array("drawn", drawn, np.float64, stratum.shape)
    propensity = np.empty(stratum.size)
    _of_strata(stratum, np.uint8(explore), np.uint8(exploit), drawn, float(exploited), propensity)
    return propensity


def of_messages(
    sets: I16,
    propensity: F64,
    stratum: U8,
    holdout: int,
    replayed: int | None,
    held: I32 | None,
    n_draws: int,
) -> F64:
    """Return the propensity of each message of a set, f64[max_messages, n_members]: the set's, or a share of replays.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates, -1 in empty places.
    propensity : f64[n_members]
        Of the set; NaN where it is not known.
    stratum : u8[n_members]
    holdout, replayed
        Codes of strata: of those who get nothing, and of those whose messages were counted in replays, if any.
    held : i32[max_messages, n_members], optional
        Replays whose set held the message.
    n_draws
        How many there were; the draw that was made counts as one more.

    Returns
    -------
    NaN in empty places, in the holdout, where the set's is, and where it would take replays and there were none.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    propensity = check_array("propensity", propensity, np.float64, (sets.shape[1],))
    stratum = check_array("stratum", stratum, np.uint8, propensity.shape)
    counted = _NONE_HELD if held is None else check_array("held", held, np.int32, sets.shape)
    inclusion = np.empty(sets.shape)
    _of_messages(
        sets, propensity, stratum, holdout, -1 if replayed is None else replayed, counted, n_draws, inclusion
    )
    return inclusion


_NONE_HELD = np.empty((0, 0), np.int32)
_NONE_HELD.flags.writeable = False


def single_choice(mean: F32, sd: F32, reason: U8, cost: F32, price: F32) -> F64:
    """Return the probability that each candidate is the one message that Thompson sends, and that none is.

    Parameters
    ----------
    mean, sd : f32[n_candidates, n_members]
        The posterior of each candidate's uplift; finite and sd not negative where eligible.
    reason : u8[n_candidates, n_members]
        0 where the candidate is eligible: also in the eyes of the caps.
    cost : f32[n_candidates]
        Not negative.
    price : f32[n_candidates]
        Finite.

    Returns
    -------
    f64[n_candidates + 1, n_members]
        The last row is nobody. Each column sums to 1 within 1e-11 for each hundred candidates.

    Raises
    ------
    ContractError
        If an argument breaks the rules above.

    Notes
    -----
    With independent values, net of the price of mean m and standard deviation s, ``P(k) =
    integral over t > 0 of phi((t - m_k)/s_k)/s_k * product over j != k of Phi((t - m_j)/s_j)``. A candidate
    with sd 0 has its value for certain: the best of those raises the lower end to its net, and what lies
    below is its probability instead of nobody's; of equals it is the one that assembly takes.

    Composite Gauss-Legendre quadrature; each panel spans four of the smallest standard deviation among the
    candidates that are still undecided at t. About 50 microseconds a member for 32 candidates.

    Departs from assembly only where that is a matter of rounding: draws are treated as real numbers, and a
    message at exactly the price as not sent.
    """
    mean, sd, reason = check_posterior(mean, sd, reason)
    n_candidates, n_members = mean.shape
    terms = check_terms(cost, price, 0.0, 0, n_candidates)
    check_finite("price", price)
    chances = np.zeros((n_candidates + 1, n_members))
    _single_choice(mean, sd, reason, terms, _NODES, _WEIGHTS, chances)
    return chances


@kernel
def _of_strata(
    stratum: U8, explore: np.uint8, exploit: np.uint8, drawn: F64, exploited: float, propensity: F64
) -> None:
    for r in range(stratum.size):
        other = exploited if stratum[r] == exploit else 1.0
        propensity[r] = drawn[r] if stratum[r] == explore else other


@kernel
def _of_messages(
    sets: I16,
    propensity: F64,
    stratum: U8,
    holdout: int,
    replayed: int,
    held: I32,
    n_draws: int,
    inclusion: F64,
) -> None:
    for place in range(len(sets)):
        for r in range(propensity.size):
            chance = propensity[r]
            if sets[place, r] < 0 or np.isnan(chance) or stratum[r] == holdout:
                chance = np.nan
            elif stratum[r] == replayed:
                chance = (np.float64(held[place, r]) + 1.0) / (n_draws + 1.0) if held.size > 0 else np.nan
            inclusion[place, r] = chance


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_N_NODES)


class Undecided(NamedTuple):
    """The candidates of one member that may still be worth more than t; a count says how many are in use."""

    candidate: I64
    net: F64  # mean, net of the price
    spread: F64
    hazard: F64


@kernel
def _single_choice(
    mean: F32, sd: F32, reason: U8, terms: Terms, nodes: F64, weights: F64, chances: F64
) -> None:
    n_candidates, n_members = mean.shape
    undecided = Undecided(
        np.empty(n_candidates, np.int64),
        np.empty(n_candidates),
        np.empty(n_candidates),
        np.empty(n_candidates),
    )
    for r in range(n_members):
        certain = _best_certain(r, mean, sd, reason, terms)
        t = 0.0 if certain < 0 else np.float64(mean[certain, r]) - _cost_at(terms, certain)
        n = 0
        for k in range(n_candidates):
            if reason[k, r] == 0 and sd[k, r] > np.float32(0.0):
                undecided.candidate[n] = k
                undecided.net[n] = np.float64(mean[k, r]) - _cost_at(terms, k)
                undecided.spread[n] = np.float64(sd[k, r])
                n += 1
        chances[n_candidates if certain < 0 else certain, r] = _all_below(t, n, undecided)
        t = _start(t, n, undecided)
        n = _decide(t, n, undecided)
        while n > 0:
            half = 0.5 * _PANEL * undecided.spread[:n].min()
            for q in range(nodes.size):
                share = half * weights[q] * _set_hazards(t + half * (1.0 + nodes[q]), n, undecided)
                for j in range(n):
                    chances[undecided.candidate[j], r] += share * undecided.hazard[j]
            t += 2.0 * half
            n = _decide(t, n, undecided)


@inline
def _cost_at(terms: Terms, k: int) -> float:
    return np.float64(terms.price[k]) * np.float64(terms.cost[k])


@kernel
def _best_certain(r: int, mean: F32, sd: F32, reason: U8, terms: Terms) -> int:
    # What assembly would add first if only the candidates without uncertainty were there, -1 for nothing.
    best = -1
    best_net = np.float32(-np.inf)
    for k in range(len(mean)):
        if reason[k, r] == 0 and sd[k, r] == np.float32(0.0):
            delta = mean[k, r]
            if rate_of(delta, terms.cost[k]) > terms.price[k]:
                net = delta - charge_of(terms.cost[k], terms.price[k])
                if net > best_net or (net == best_net and delta > mean[best, r]):
                    best, best_net = k, net
    return best


@inline
def _normal_below(x: float) -> float:
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@kernel
def _all_below(t: float, n: int, undecided: Undecided) -> float:
    # F(t): none of them is worth more than t.
    product = 1.0
    for j in range(n):
        product *= _normal_below((t - undecided.net[j]) / undecided.spread[j])
    return product


@kernel
def _start(below: float, n: int, undecided: Undecided) -> float:
    # Where the integral may start: at `below`, or where F is negligible. From there on no factor of F is
    # under the normal distribution at -_REACH, so that dividing by it is safe.
    start, end = below, below
    for j in range(n):
        start = max(start, undecided.net[j] - _REACH * undecided.spread[j])
        end = max(end, undecided.net[j] + _REACH * undecided.spread[j])
    for _ in range(12):
        middle = 0.5 * (start + end)
        if _all_below(middle, n, undecided) < _NEGLIGIBLE:
            start = middle
        else:
            end = middle
    return start


@kernel
def _decide(t: float, n: int, undecided: Undecided) -> int:
    # Takes out the candidates that lie below t for certain; returns how many are left.
    j = 0
    while j < n:
        if undecided.net[j] + _REACH * undecided.spread[j] > t:
            j += 1
        else:
            n -= 1
            undecided.candidate[j] = undecided.candidate[n]
            undecided.net[j] = undecided.net[n]
            undecided.spread[j] = undecided.spread[n]
    return n


@kernel
def _set_hazards(t: float, n: int, undecided: Undecided) -> float:
    # Returns F(t) and sets each hazard, density over distribution: the share of dF/F.
    product = 1.0
    for j in range(n):
        x = (t - undecided.net[j]) / undecided.spread[j]
        distribution = _normal_below(x)
        density = math.exp(-0.5 * x * x) / (math.sqrt(2.0 * math.pi) * undecided.spread[j])
        undecided.hazard[j] = density / distribution
        product *= distribution
    return product
