"""W1 with full covariances, against the time that sgemm takes for its multiply-adds, and against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from threadpoolctl import threadpool_limits

from decider.bench.case import Case, Effort, Row
from decider.bench.chain import CHUNK, Chain, NumPyChain, multiply_adds
from decider.bench.comparison import Baseline, Comparison
from decider.bench.threads import SQUARE, square_product, together

TURNS: Final = 8
"""Chunks that a thread decides in a call."""
OF_SGEMM: Final = 0.75
"""Of the rate at which sgemm alone would do the multiply-adds; 0.9 is what we are after."""
TIMES_NUMPY: Final = 2.8


def measure(effort: Effort) -> Iterator[Row]:
    """With limits and without, on one thread and on two."""
    # BLAS works alone on each of our threads: two products side by side are faster than one shared by two.
    with threadpool_limits(1):
        for threads in (1,) if effort.short else (1, 2):
            for limited in (True, False):
                rounds = 7 if effort.short else 15
                yield from chain("thompson", "full", limited, threads, OF_SGEMM, TIMES_NUMPY).rows(
                    effort, rounds
                )


def chain(
    case: str,
    form: str,
    limited: bool,
    threads: int,
    of_sgemm: float | None,
    times_numpy: float,
    k: int = 32,
    d: int = 32,
) -> Comparison:
    """Return the chain beside its baselines, each on so many threads."""
    chains = [Chain(form, limited, k=k, d=d, seed=seed) for seed in range(threads)]
    in_numpy = [NumPyChain(each, form) for each in chains]
    members = float(CHUNK * TURNS * threads)
    products = SQUARE**3 * threads / multiply_adds(form, k, d)
    return Comparison(
        case,
        f"{'caps' if limited else 'free'}-k{k}-d{d}-t{threads}",
        "members/s",
        together(chains, TURNS),
        members,
        (
            Baseline("sgemm", together([square_product() for _ in chains]), products, of_sgemm),
            Baseline("NumPy", together(in_numpy, TURNS), members, times_numpy),
        ),
    )


CASE = Case("thompson", "score, draw and assemble with full covariances, against sgemm and NumPy", measure)
