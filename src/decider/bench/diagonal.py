"""W1 with independent weights (diagonal covariances), against sgemm's time and against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from threadpoolctl import threadpool_limits

from decider.bench.case import Case, Effort, Row
from decider.bench.thompson import chain

TIMES_NUMPY: Final = 3.0


def measure(effort: Effort) -> Iterator[Row]:
    """With limits and without, on one thread and on two."""
    with threadpool_limits(1):
        for threads in (1,) if effort.short else (1, 2):
            for limited in (True, False):
                rounds = 7 if effort.short else 15
                yield from chain("diagonal", "diagonal", limited, threads, None, TIMES_NUMPY).rows(
                    effort, rounds
                )


CASE = Case("diagonal", "score, draw and assemble with diagonal covariances, against NumPy", measure)
