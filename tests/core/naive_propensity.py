"""Propensities of Thompson from their definitions: by Simpson's rule, and by assembling each replay."""

import itertools
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


def set_choice(sets, mean, sd, reason, fatigue, same_topic_penalty, cost, price, caps):
    """P(sets): G(b) H(b) + integral of (-dG/dt) H, as in decider_core.set_choice, by adaptive quadrature."""
    chances = []
    for r in range(sets.shape[1]):
        sent = [int(k) for k in sets[:, r] if k >= 0]
        others = [k for k in np.flatnonzero(reason[:, r] == 0) if k not in sent]
        net = mean[:, r].astype(float) - price.astype(float) * cost.astype(float)
        spread, f, size = sd[:, r].astype(float), float(fatigue[r]), len(sent)

        def above(t, net=net, spread=spread, sent=sent):
            return float(np.prod(stats.norm.sf((t - net[sent]) / spread[sent])))

        def below(t, net=net, spread=spread, others=others):
            return float(np.prod(stats.norm.cdf((t - net[others]) / spread[others])))

        def inside(t, net=net, spread=spread, sent=sent, above=above, below=below):
            x = (t - net[sent]) / spread[sent]
            hazard = np.exp(stats.norm.logpdf(x) - stats.norm.logsf(x)) / spread[sent]
            return above(t) * below(t) * float(hazard.sum())

        full = size >= caps.room_member[r]
        chance = 0.0 if full else above(f * size) * below(f * size)
        if size:
            low, high = f * (size - 1), f * size
            if full:
                high = max(low, float((net[sent] + 10 * spread[sent]).min()))
            edges = np.linspace(low, high, 17)
            for a, b in itertools.pairwise(edges):
                chance += integrate.quad(inside, a, b, epsabs=0.0, epsrel=1e-11, limit=200)[0]
        elif full:
            chance = 1.0
        chances.append(chance)
    return np.array(chances)
