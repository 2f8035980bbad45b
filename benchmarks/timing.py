"""Times a kernel and its baseline in turn, so that both see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def median_seconds(*functions: Callable[[], object], rounds: int = 5) -> list[float]:
    """Return the median time of a call of each function, after one call of each that is not timed."""
    seconds = np.empty((rounds + 1, len(functions)))
    for row in seconds:
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[i] = time.perf_counter() - start
    return np.median(seconds[1:], axis=0).tolist()
