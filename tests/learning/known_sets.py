"""Logs of explored message sets from a world whose effects, fatigue and topic penalty are known."""

import itertools

import numpy as np

from decider.learning.inclusion import explore_inclusion
from decider.learning.set_sums import SetSums
from decider.learning.sets import SetRows
from decider_core.assemble import Caps
from decider_core.explore import explore_sets

N_CANDIDATES, MOST, D = 6, 3, 4
NAMES = tuple(f"m{c}@email" for c in range(N_CANDIDATES))
TOPIC = np.array([0, 0, 1, 1, 2, 2], np.int32)
TYPES = {name: ("new", "old")[c % 2] for c, name in enumerate(NAMES)}
SHARES = np.array([0.25, 0.35, 0.25, 0.15])
WEIGHT = np.array([1.0, 2.0, 1.0, 1.5, 1.0, 3.0])
KEYS = np.arange(1, N_CANDIDATES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
FATIGUE = np.array([0.04, 0.01, 0.0, -0.01])
PENALTY = 0.03


def coefficients(seed=5, spread=0.02):
    """True w, float64 of shape [K, D]: averages around .05 and slopes of sd `spread`."""
    g = np.random.default_rng(seed)
    w = g.normal(size=(N_CANDIDATES, D)) * spread
    w[:, 0] += 0.05
    return w


def no_caps(n, most=MOST, n_candidates=N_CANDIDATES):
    """Caps that never bind."""
    none = np.zeros(n_candidates, np.int32)
    room = np.full((1, n), most, np.int16)
    return Caps(none, none, room[0], room, room, most)


def expected(sets, z, w, fatigue=FATIGUE, penalty=PENALTY):
    """E[Y | x, do(S)] by its definition, row by row."""
    level = 0.3 + 0.08 * z[:, 1] - 0.05 * z[:, 2] + 0.03 * np.sin(2 * z[:, 3])
    found = np.array(level, np.float64)
    for i in range(sets.shape[1]):
        held = [c for c in sets[:, i].tolist() if c >= 0]
        found[i] += sum(z[i] @ w[c] for c in held)
        found[i] -= max(0.0, z[i] @ fatigue) * len(held) * (len(held) - 1) / 2
        found[i] -= penalty * sum(TOPIC[a] == TOPIC[b] for a, b in itertools.combinations(held, 2))
    return found


def simulated_sets(seed, n=4000, w=None, eligible=0.8, binary=True, noise=0.45):
    """A log of n rows; every candidate is eligible with probability `eligible`."""
    g = np.random.default_rng(seed)
    z = np.column_stack([np.ones(n), g.uniform(-1.7, 1.7, size=(n, D - 1))]).astype(np.float32)
    reason = (g.random((N_CANDIDATES, n)) > eligible).astype(np.uint8)
    members = np.arange(n, dtype=np.uint64) + np.uint64(seed) * np.uint64(n)
    sets, _ = explore_sets(seed, 0, SHARES, WEIGHT, reason, no_caps(n), members, KEYS)
    inclusion = explore_inclusion(SHARES, WEIGHT, reason, TOPIC)
    level = expected(sets, z.astype(np.float64), coefficients() if w is None else w)
    reward = (g.random(n) < level).astype(np.float64) if binary else level + noise * g.normal(size=n)
    return SetRows(sets, reward, inclusion.probability, inclusion.pairs, inclusion.same_topic, z)


def summed(rows, parts=1, names=NAMES, topic=TOPIC):
    """Sums of rows, added in parts."""
    sums = SetSums(names, topic, rows.z.shape[1], 0 if rows.pair is None else len(rows.pair))
    for part in np.array_split(np.arange(rows.n_rows), parts):
        sums.add(rows.rows(part))
    return sums
