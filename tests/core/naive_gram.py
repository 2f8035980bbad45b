"""The Gram matrix of rows r ⊗ z, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence


def whole_gram(
    response: Sequence[Sequence[float]], z: Sequence[Sequence[float]], weight: Sequence[float]
) -> list[list[float]]:
    """Sum over rows of the outer product of ``[r_1 z, r_2 z, ...]`` with itself."""
    n_responses, d = len(response), len(z[0])
    size = n_responses * d
    gram = [[0.0] * size for _ in range(size)]
    for row in range(len(z)):
        line = [response[k][row] * z[row][i] for k in range(n_responses) for i in range(d)]
        for a in range(size):
            for b in range(size):
                gram[a][b] += weight[row] * line[a] * line[b]
    return gram
