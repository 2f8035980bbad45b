"""Times a function and its baselines in turn, so that all see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def median_seconds(
    *functions: Callable[[], object],
    rounds: int = 5,
    round_seconds: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the median time of a call of each function.

    Parameters
    ----------
    functions
        Called in turn, round after round; each once more before the first round, to warm its caches.
    rounds
        Medians are over so many.
    round_seconds
        A function's share of a round: short ones are called so often in a row that they take that long.
    clock
        `Effort.clock` of a case.
    """
    repeats = []
    for function in functions:
        function()
        if round_seconds > 0.0:
            start = time.perf_counter()
            function()
            repeats.append(1 + int(round_seconds / (time.perf_counter() - start)))
        else:
            repeats.append(1)
    seconds = np.empty((rounds, len(functions)))
    for row in seconds:
        for place, (function, n) in enumerate(zip(functions, repeats, strict=True)):
            if n > 1:
                function()
            start = clock()
            for _ in range(n):
                function()
            row[place] = (clock() - start) / n
    return [float(each) for each in np.median(seconds, axis=0)]
