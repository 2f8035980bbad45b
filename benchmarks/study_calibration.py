"""How often 95 % intervals of the R-learner on sets hold the truth, over replicated logs of a known world.

``python -m benchmarks.study_calibration [LOGS]``: 200 logs unless told otherwise, of 4,000 and of 20,000 rows; with
effects drawn anew for every log, and with one truth for all.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from decider.learning.r_learner import r_learner
from tests.learning.known_sets import FATIGUE, PENALTY, TYPES, D, coefficients, simulated_sets, summed

Z = 1.959964
MEMBERS = np.column_stack([np.ones(40), np.random.default_rng(77).uniform(-1.7, 1.7, size=(40, D - 1))])
SHOWN = ("tau of fixed members", "average effects", "fatigue of fixed members", "same-topic penalty")


def covered(seed: int, n_rows: int, one_truth: bool) -> list[float]:
    """Share of intervals that hold the truth, in one log."""
    w = coefficients(5 if one_truth else 1000 + seed)
    rows = simulated_sets(seed, n=n_rows, w=w)
    found = r_learner(summed(rows), TYPES)
    centre = rows.z.mean(axis=0).astype(float)
    sd = np.sqrt(np.einsum("mi,kij,mj->km", MEMBERS, found.covariance, MEMBERS))
    fatigue_sd = np.sqrt(np.einsum("mi,ij,mj->m", MEMBERS, found.fatigue_covariance, MEMBERS))
    held = (
        np.abs((found.mean - w) @ MEMBERS.T) < Z * sd,
        np.abs(found.average - w @ centre) < Z * found.average_sd,
        np.abs(MEMBERS @ (found.fatigue_mean - FATIGUE)) < Z * fatigue_sd,
        abs(found.same_topic[0] - PENALTY) < Z * found.same_topic[1],
    )
    return [float(np.mean(each)) for each in held]


def main(n_logs: int) -> None:
    """Print a line for every kind of log."""
    print(f"{n_logs} logs each; share of 95 % intervals that hold the truth")
    with ProcessPoolExecutor() as pool:
        for n_rows in (4_000, 20_000):
            for one_truth in (False, True):
                logs = pool.map(partial(covered, n_rows=n_rows, one_truth=one_truth), range(n_logs))
                shares = np.mean(list(logs), axis=0)
                kind = "one truth" if one_truth else "drawn truths"
                told = ", ".join(f"{name} {share:.1%}" for name, share in zip(SHOWN, shares, strict=True))
                print(f"{n_rows:6,} rows, {kind:12}: {told}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
