"""Evidence against shares and moments within cells, from their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def bayes_factor(counts: Sequence[int], shares: Sequence[float], concentration: float) -> float:
    """Logarithm of the Dirichlet-multinomial over the multinomial likelihood, one member at a time."""
    seen = [0] * len(counts)
    log_factor = 0.0
    for cell, count in enumerate(counts):
        for _ in range(count):
            predicted = (concentration * shares[cell] + seen[cell]) / (concentration + sum(seen))
            log_factor += math.log(predicted / shares[cell])
            seen[cell] += 1
    return log_factor


def mixture_ratio(z: float, information: float, width: float = 8.0, steps: int = 20_001) -> float:
    """Robbins' mixture: the likelihood ratio of effects drawn from N(0, information), summed over a grid."""
    scale = math.sqrt(information)
    total = weights = 0.0
    for step in range(steps):
        u = -width + 2 * width * step / (steps - 1)
        weight = math.exp(-u * u / 2)
        effect = u * scale
        total += weight * math.exp(effect * z - effect * effect / 2)
        weights += weight
    return total / weights


def moments(values: Sequence[Sequence[float]]) -> tuple[list[float], list[list[float]], list[float]]:
    """Means, sums of products and of cubes of deviations; one row a column."""
    n = len(values[0])
    means = [math.fsum(row) / n for row in values]
    centred = [[value - mean for value in row] for row, mean in zip(values, means, strict=True)]
    products = [
        [math.fsum(a * b for a, b in zip(left, right, strict=True)) for right in centred] for left in centred
    ]
    return means, products, [math.fsum(value**3 for value in row) for row in centred]
