"""Off-policy sums over 32 actions with 200 resamples: one pass over the log against a loop over resamples in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Final, TypeAlias

import numpy as np

from decider.bench.case import Case, Effort, Row, row_of
from decider.bench.threads import together
from decider.bench.timing import median_seconds
from decider_core.compile import F32, F64
from decider_core.estimate import OffPolicySums, merge, off_policy_actions

N_RESAMPLES: Final = 200
N_TIMED: Final = 20
"""NumPy's resamples are alike, so a tenth of them is timed."""
N_ACTIONS: Final = 32
ROWS: Final = 10_000_000
GOAL: Final = 50.0
_CHUNK: Final = 500_000

Rows: TypeAlias = dict[str, np.ndarray]


def measure(effort: Effort) -> Iterator[Row]:
    """IPS, SNIPS and DR with their resamples, on two threads."""
    n, threads = (100_000, 1) if effort.short else (ROWS, 2)
    yield compared(effort, n, threads)


def compared(effort: Effort, n: int, threads: int, n_rounds: int = 3) -> Row:
    """Rows a second of both, for `n` rows."""
    effort.report(f"ope: a log of {n:,} rows", 0, None)
    rows = logged(n)
    columns = numpy_columns(rows)
    loops = [Resamples(columns, seed, N_TIMED // threads) for seed in range(threads)]
    effort.report(f"ope m{n}", 0, None)
    seconds, once, looped = median_seconds(
        lambda: one_pass(rows, threads),
        lambda: numpy_columns(rows),
        together(loops),
        rounds=effort.rounds(n_rounds),
        clock=effort.clock,
    )
    in_numpy = once + looped * N_RESAMPLES / N_TIMED
    shape = f"m{n}-k{N_ACTIONS}-b{N_RESAMPLES}-t{threads}"
    return row_of("ope", shape, n / seconds, "rows/s", "NumPy's bootstrap", n / in_numpy, GOAL)


def logged(n: int) -> Rows:
    """Rows of a log of random actions, a target policy and a reward model."""
    g = np.random.Generator(np.random.SFC64(1))
    target = np.empty((n, N_ACTIONS), np.float32)
    q_hat = np.empty((n, N_ACTIONS), np.float32)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(n, start + _CHUNK))
        g.random(out=q_hat[rows], dtype=np.float32)
        g.standard_exponential(out=target[rows], dtype=np.float32)
        target[rows] /= target[rows].sum(axis=1, keepdims=True)
    arm = g.integers(0, N_ACTIONS, n)
    return {
        "reward": (g.random(n) < 0.2 + 0.3 * q_hat[np.arange(n), arm]).astype(np.float64),
        "propensity": np.full(n, 1 / N_ACTIONS),
        "arm": arm,
        "target": target,
        "q_hat": q_hat,
        "member_keys": np.arange(n, dtype=np.uint64),
    }


def one_pass(rows: Rows, threads: int) -> OffPolicySums:
    """Chunks on threads; each is forgotten once its sums are made."""
    n = len(rows["arm"])
    chunks = [slice(start, min(n, start + _CHUNK)) for start in range(0, n, _CHUNK)]

    def add(chunk: slice) -> OffPolicySums:
        part = {name: array[chunk] for name, array in rows.items()}
        return off_policy_actions(**part, n_resamples=N_RESAMPLES, seed=1)

    if threads == 1:
        return reduce(merge, map(add, chunks))
    with ThreadPoolExecutor(threads) as pool:
        return reduce(merge, pool.map(add, chunks))


def numpy_columns(rows: Rows) -> tuple[F32, F32, F32]:
    """Weights, weighted rewards and doubly robust terms of all rows."""
    n = len(rows["arm"])
    places = np.arange(n), rows["arm"]
    w = (rows["target"][places] / rows["propensity"]).astype(np.float32)
    reward = rows["reward"].astype(np.float32)
    robust = np.einsum("nk,nk->n", rows["target"], rows["q_hat"])
    robust += w * (reward - rows["q_hat"][places])
    return w, w * reward, robust


class Resamples:
    """IPS, SNIPS and DR of rows drawn with replacement, as the bootstrap is usually written."""

    def __init__(self, columns: tuple[F32, F32, F32], seed: int, n_resamples: int) -> None:
        self.columns, self.seed, self.n_resamples = columns, seed, n_resamples

    def __call__(self) -> F64:
        """Return the estimates of every resample, f64[n_resamples, 3]."""
        w, weighted, robust = self.columns
        g, found = np.random.Generator(np.random.SFC64(self.seed)), np.empty((self.n_resamples, 3))
        for row in found:
            drawn = g.integers(0, w.size, w.size, dtype=np.int32)
            total = np.take(weighted, drawn).sum(dtype=np.float64)
            row[:2] = total / w.size, total / np.take(w, drawn).sum(dtype=np.float64)
            row[2] = np.take(robust, drawn).mean(dtype=np.float64)
        return found


CASE = Case("ope", "IPS, SNIPS and DR with 200 resamples in one pass, against NumPy's bootstrap", measure)
