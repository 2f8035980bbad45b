"""Contextual bandits of other libraries on W1's shape, each in two processes; imported by the processes too."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

N_CANDIDATES, N_FEATURES, N_TRAINED = 32, 32, 2_000
PROCESSES = 2

_call: Callable[[], Any] | None = None


class Rival:
    """A library that decides for as many members as `make` prepares, once in every process and call.

    Parameters
    ----------
    make
        Called in each process: trains, parses, and returns what decides.
    blas_threads
        Of each process; None leaves them as they come, which is a thread for each core in every process.
    """

    def __init__(self, make: Callable[[], Callable[[], Any]], blas_threads: int | None = None) -> None:
        self.pool = ProcessPoolExecutor(PROCESSES, get_context("spawn"), _start, (make, blas_threads))

    def __call__(self) -> None:
        """Decide in all processes at once."""
        for done in [self.pool.submit(_run) for _ in range(PROCESSES)]:
            done.result()


def _start(make: Callable[[], Callable[[], Any]], blas_threads: int | None) -> None:
    global _call
    threadpool_limits(blas_threads)
    _call = make()


def _run() -> None:
    assert _call is not None
    _call()


def vowpal_wabbit(n_members: int = 5_000) -> Callable[[], Any]:
    """SquareCB with an action's own weight for each feature, on examples parsed before: no sets, no price."""
    from vowpalwabbit import Workspace

    g = np.random.default_rng(0)
    space = Workspace("--cb_explore_adf --squarecb -q sa --quiet")

    def text(row: np.ndarray, cost: float | None = None) -> list[str]:
        shared = "shared |s " + " ".join(f"f{i}:{value:.5f}" for i, value in enumerate(row))
        label = "" if cost is None else f"0:{cost}:{1 / N_CANDIDATES} "
        return [shared, *((label if k == 0 else "") + f"|a m{k}" for k in range(N_CANDIDATES))]

    for row in g.standard_normal((N_TRAINED, N_FEATURES)):
        space.learn(text(row, float(g.random())))
    examples = [space.parse(text(row)) for row in g.standard_normal((n_members, N_FEATURES))]
    return lambda: [space.predict(example) for example in examples]


def mabwiser(n_members: int = 2_000) -> Callable[[], Any]:
    """LinTS: one draw of all weights for a member, the best arm: no sets, no price."""
    from mabwiser.mab import MAB, LearningPolicy

    g = np.random.default_rng(0)
    bandit = MAB(list(range(N_CANDIDATES)), LearningPolicy.LinTS(alpha=0.1), n_jobs=1)
    contexts = g.standard_normal((N_TRAINED, N_FEATURES))
    bandit.fit(g.integers(0, N_CANDIDATES, N_TRAINED), g.random(N_TRAINED), contexts)
    members = g.standard_normal((n_members, N_FEATURES))
    return lambda: bandit.predict(members)
