"""Propensities of Thompson from their definitions: by Simpson's rule, and by assembling each replay."""

import math

import naive_assemble
import numpy as np
from scipy import integrate, special, stats


def single_choice(mean, sd, reason, cost, price):
    n_candidates, n_members = mean.shape
    chances = np.zeros((n_candidates + 1, n_members))
    for i in range(n_members):
        net = [float(m) - float(p) * float(c) for m, p, c in zip(mean[:, i], price, cost, strict=True)]
        eligible = [k for k in range(n_candidates) if reason[k, i] == 0]
        certain = [k for k in eligible if sd[k, i] == 0 and net[k] > 0]
        best = max(certain, key=lambda k: (net[k], mean[k, i], -k), default=None)
        below = 0.0 if best is None else net[best]
        drawn = [k for k in eligible if sd[k, i] > 0]

        def all_below(t, but=None, drawn=drawn, net=net, i=i):
            return math.prod(special.ndtr((t - net[k]) / float(sd[k, i])) for k in drawn if k != but)

        chances[n_candidates if best is None else best, i] = all_below(below)
        end = max([below, *(net[k] + 9 * float(sd[k, i]) for k in drawn)])
        t = np.linspace(below, end, 200_001)
        for k in drawn:
            density = stats.norm.pdf(t, net[k], float(sd[k, i]))
            chances[k, i] = integrate.simpson(density * all_below(t, k), t)
    return chances


def replayed_hits(sets, mean, sd, z, **case):
    """`z[i, k, r]` is the draw of candidate k in replay i of member r."""
    hits = np.zeros(mean.shape[1], np.int32)
    for draws in z:
        value = mean + sd * draws
        drawn, _ = naive_assemble.assemble(value, **case)
        for r in range(mean.shape[1]):
            hits[r] += {k for k in drawn[:, r] if k >= 0} == {k for k in sets[:, r] if k >= 0}
    return hits


def replayed_holds(sets, mean, sd, z, **case):
    """How many replays give each member a set with the candidate at each place."""
    held = np.zeros(sets.shape, np.int32)
    for draws in z:
        drawn, _ = naive_assemble.assemble(mean + sd * draws, **case)
        for place in range(len(sets)):
            for r in range(mean.shape[1]):
                held[place, r] += sets[place, r] >= 0 and sets[place, r] in drawn[:, r]
    return held
