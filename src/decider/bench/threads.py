"""The same work on several threads at once, and the machine's matrix product as the bound of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

SQUARE: Final = 1024
"""Side of the matrices whose product gives the machine's rate of multiply-adds."""


def together(calls: Sequence[Callable[[], object]], turns: int = 1) -> Callable[[], None]:
    """Return a function that makes each call `turns` times, each on a thread of its own; a lone one on this."""

    def repeatedly(call: Callable[[], object]) -> None:
        for _ in range(turns):
            call()

    if len(calls) == 1:
        return lambda: repeatedly(calls[0])
    pool = ThreadPoolExecutor(len(calls))

    def run() -> None:
        for done in [pool.submit(repeatedly, call) for call in calls]:
            done.result()

    return run


def square_product() -> Callable[[], object]:
    """Return a product of two square float32 matrices: SQUARE^3 multiply-adds."""
    square = np.random.default_rng(1).standard_normal((SQUARE, SQUARE), np.float32)
    out = np.empty_like(square)
    return lambda: np.matmul(square, square, out=out)
