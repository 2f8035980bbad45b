"""Bias, error and coverage of every estimator over logs of a world whose truth is known.

``python benchmarks/study_coverage.py [LOGS] [ROWS]``: 1,000 logs of 20,000 rows unless told otherwise.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from decider.evaluation import ESTIMATORS, Logged, judge_policy

ARMS = ("nothing", "sale@email", "sale@push", "news@email")
GROUPS = np.array([0, 1, 1, 2])
KINDS = ("normal", "bootstrap", "anytime", "bernstein")
THREADS = 2


def chances(x: np.ndarray) -> np.ndarray:
    """P(reward = 1) of every row under every arm; the two sales have one effect, as MIPS supposes."""
    base, sale, news = -1.5 + 0.5 * x[:, 0], 0.5 + 0.5 * x[:, 1], 0.3 - 0.5 * x[:, 1]
    return 1 / (1 + np.exp(-np.stack([base, base + sale, base + sale, base + news], axis=1)))


def policy_of(x: np.ndarray) -> np.ndarray:
    """Send the sale by push where the second feature is positive, else the news."""
    return np.where(x[:, 1] > 0, 2, 3).astype(np.int64)


def logged(seed: int, n: int) -> Logged:
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, 2)).astype(np.float32)
    strength = np.stack([np.zeros(n), x[:, 0], 0.5 * x[:, 1], -0.5 * x[:, 1]], axis=1)
    propensity = np.exp(strength)
    propensity /= propensity.sum(axis=1, keepdims=True)
    arm = (g.random(n)[:, None] > propensity.cumsum(axis=1)[:, :-1]).sum(axis=1)
    reward = (g.random(n) < chances(x.astype(float))[np.arange(n), arm]).astype(float)
    keys = np.arange(n, dtype=np.uint64)
    return Logged(ARMS, 0, "visit", ("a", "b"), x, arm.astype(np.int64), reward, propensity, keys)


def truth() -> tuple[float, float]:
    """The policy's value, and its increment over nothing."""
    x = np.random.default_rng(2**31).normal(size=(4_000_000, 2))
    p = chances(x)
    value = p[np.arange(len(x)), policy_of(x)]
    return float(value.mean()), float((value - p[:, 0]).mean())


def one(arguments: tuple[int, int]) -> dict[tuple[str, str], tuple[float, ...]]:
    seed, n = arguments
    log = logged(seed, n)
    # A reward model that is wrong: half the truth.
    q_hat = 0.5 * chances(log.x.astype(float))
    found = judge_policy(
        policy_of(log.x), log, q_hat, groups=GROUPS, reward_range=(0.0, 1.0), n_resamples=400, seed=seed
    )
    rows = {}
    for form, estimates in (("value", found.values), ("increment", found.incremental)):
        for name, each in estimates.items():
            ends = [end for kind in KINDS for end in (getattr(each, kind) or (np.nan, np.nan))]
            rows[form, name] = (each.value, *ends)
    return rows


def study(n_logs: int, n_rows: int) -> None:
    true = dict(zip(("value", "increment"), truth(), strict=True))
    drawn = defaultdict(list)
    with ProcessPoolExecutor(THREADS) as pool:
        for rows in pool.map(one, ((seed, n_rows) for seed in range(n_logs)), chunksize=10):
            for key, row in rows.items():
                drawn[key].append(row)
    print(f"{n_logs} logs of {n_rows} rows; truth {true['value']:.5f}, increment {true['increment']:.5f}")
    print(f"{'':10}{'estimator':14}{'bias':>10}{'rmse':>10}" + "".join(f"{kind:>11}" for kind in KINDS))
    for form in true:
        for name in ESTIMATORS:
            rows = np.array(drawn[form, name], float)
            errors = rows[:, 0] - true[form]
            covers = (rows[:, 1::2] <= true[form]) & (true[form] <= rows[:, 2::2])
            known = np.isfinite(rows[:, 1::2])
            shares = [
                f"{covers[known[:, k], k].mean():11.3f}" if known[:, k].any() else f"{'-':>11}"
                for k in range(len(KINDS))
            ]
            rmse = np.sqrt(np.mean(errors**2))
            print(f"{form:10}{name:14}{errors.mean():10.5f}{rmse:10.5f}" + "".join(shares))


if __name__ == "__main__":
    study(*(int(float(text)) for text in (*sys.argv[1:], *("1000", "20000")[len(sys.argv) - 1 :])))
