"""How well RECAP and estimators order policies: Kendall's tau with the true order, by size of the catalog.

``python benchmarks/study_recap.py [WORLDS] [ROWS]``: 50 policies in each world; 5 worlds of 10,000 rows unless
told otherwise.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np
from scipy.stats import kendalltau

from decider.evaluation import Logged, estimators, recap, recap_normalised
from decider.evaluation.rows import arm_rows

N_POLICIES = 50
SIZES = (5, 50, 500)


def world(seed: int, n: int, n_actions: int) -> dict[str, float]:
    """Kendall's tau of every metric over greedy policies whose scores are the truth and noise."""
    g = np.random.default_rng(seed)
    x, features = g.normal(size=(n, 8)), g.normal(size=(n_actions, 8))
    strength = x @ features.T / np.sqrt(8)
    truth = 1 / (1 + np.exp(2.0 - strength))
    propensity = np.exp(0.5 * (strength + g.normal(size=n_actions)))
    propensity /= propensity.sum(axis=1, keepdims=True)
    arm = np.minimum((g.random(n)[:, None] > propensity.cumsum(axis=1)).sum(axis=1), n_actions - 1)
    reward = (g.random(n) < truth[np.arange(n), arm]).astype(float)
    names = tuple(f"a{k}" for k in range(n_actions))
    keys = np.arange(n, dtype=np.uint64)
    log = Logged(names, 0, "y", (), np.zeros((n, 0), np.float32), arm, reward, propensity, keys)
    # A reward model that knows half of the features.
    known = x[:, :4] @ features[:, :4].T / np.sqrt(8)
    q_hat = 1 / (1 + np.exp(2.0 - known))
    values = defaultdict(list)
    for _ in range(N_POLICIES):
        share = g.uniform(0.0, 1.0)
        noise = (x @ g.normal(size=(8, n_actions))) / np.sqrt(8)
        scores = share * strength + (1 - share) * noise
        target = np.zeros((n, n_actions))
        target[np.arange(n), scores.argmax(axis=1)] = 1.0
        rows = arm_rows(target, log, q_hat)
        values["truth"].append((target * truth).sum(axis=1).mean())
        values["recap"].append(recap(scores, log).value)
        values["recap normalised"].append(recap_normalised(scores, log).value)
        for name in ("replay", "ips", "snips", "dr"):
            values[name].append(getattr(estimators, name)(rows).value)
    truths = values.pop("truth")
    return {name: float(kendalltau(truths, each).statistic) for name, each in values.items()}


def study(n_worlds: int, n: int) -> None:
    table = {}
    for n_actions in SIZES:
        found = [world(seed, n, n_actions) for seed in range(n_worlds)]
        table[n_actions] = {name: np.mean([each[name] for each in found]) for name in found[0]}
    print(f"Kendall's tau with the true order of {N_POLICIES} policies, mean of {n_worlds} worlds, {n} rows")
    print(f"{'metric':20}" + "".join(f"{size:>8}" for size in SIZES))
    for name in table[SIZES[0]]:
        print(f"{name:20}" + "".join(f"{table[size][name]:8.3f}" for size in SIZES))


if __name__ == "__main__":
    study(*(int(float(text)) for text in (*sys.argv[1:], *("5", "10000")[len(sys.argv) - 1 :])))
