"""The chance that some normal numbers all exceed what exceeds some others: one integral over where the least lies.

With G(t) the chance that all of the first exceed t, and H(t) that all others lie below, it is the integral of
``(-dG/dt) H`` over a range of t: by Gauss-Legendre quadrature, all numbers at all nodes side by side.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F64, I64, inline, kernel
from decider_core.normal_tail import exp_below_1, half_tail

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
_ROOT_HALF_PI: Final = 1.0 / math.sqrt(2.0 * math.pi)


class Rules(NamedTuple):
    """The quadrature's rules."""

    widths: F64
    """f64[n_rules]: the widest panel."""
    n_nodes: I64
    """i64[n_rules]"""
    nodes: F64
    """f64[n_rules, _MOST_NODES]"""
    weights: F64
    """f64[n_rules, _MOST_NODES]"""


def _rules() -> Rules:
    nodes, weights = np.zeros((2, len(_RULES), _MOST_NODES))
    for rule, (_, n_nodes) in enumerate(_RULES):
        nodes[rule, :n_nodes], weights[rule, :n_nodes] = np.polynomial.legendre.leggauss(n_nodes)
    widths, counts = zip(*_RULES, strict=True)
    rules = Rules(np.array(widths), np.array(counts, np.int64), nodes, weights)
    for array in rules:
        array.flags.writeable = False
    return rules


RULES: Final = _rules()


class Normals(NamedTuple):
    """Normal numbers, f64[n] each."""

    net: F64
    """Their means."""
    sd: F64
    inverse: F64
    """One over the standard deviation."""


class Space(NamedTuple):
    """The quadrature's rules, the candidates of one member, and what is known at the nodes of one integral."""

    rules: Rules
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


@kernel
def new_space(n_candidates: int, rules: Rules) -> Space:
    """Return room for integrals of one member after another."""
    n = _MOST_PANELS * _MOST_NODES
    return Space(
        rules,
        Normals(np.empty(n_candidates), np.empty(n_candidates), np.empty(n_candidates)),
        Normals(np.empty(n_candidates), np.empty(n_candidates), np.empty(n_candidates)),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
    )


@kernel
def set_integral(
    low: float, high: float, least_below: float, n_sent: int, n_others: int, space: Space
) -> float:
    """Return the integral of (-dG/dt) H from low to high, but where one of the two is negligible.

    Parameters
    ----------
    low, high
        The upper end may be infinite.
    least_below
        A lower bound of H(low), 0 where none is known: it says where the integral may end.
    n_sent, n_others
        How many numbers of G and of H, at least one of G, the caller put into `space`. Written.

    Returns
    -------
    NaN where it takes more than 64 panels: where standard deviations lie far apart.
    """
    sent = Normals(space.sent.net[:n_sent], space.sent.sd[:n_sent], space.sent.inverse[:n_sent])
    others = Normals(space.others.net[:n_others], space.others.sd[:n_others], space.others.inverse[:n_others])
    for j in range(n_sent):
        sent.sd[j] = 1.0 / sent.inverse[j]
    for j in range(n_others):
        others.sd[j] = 1.0 / others.inverse[j]
    begin = np.inf
    for j in range(n_sent):
        begin = min(begin, sent.net[j] - _REACH * sent.sd[j])
    low = max(low, begin)
    for j in range(n_others):
        low = max(low, others.net[j] - _REACH * others.sd[j])
    # H rises: without an upper end the integral is at least G(low) H(low).
    decay = min(_DECAY, -2.0 * math.log(max(_LEFT_OUT * least_below, 1e-300)))
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
def _end(low: float, decay: float, sent: Normals) -> float:
    # Where G is at most exp(-decay/2) of what it is at low: from x0 >= 0 to x1 a tail falls by
    # exp((x0^2 - x1^2)/2) at least.
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
    while rule < space.rules.widths.size - 1 and 2.0 * half * sharpest > space.rules.widths[rule]:
        rule += 1
    n_nodes = space.rules.n_nodes[rule]
    for panel in range(n_panels):
        for q in range(n_nodes):
            space.t[panel * n_nodes + q] = low + half * (2.0 * panel + 1.0 + space.rules.nodes[rule, q])
            space.share[panel * n_nodes + q] = half * space.rules.weights[rule, q]
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
