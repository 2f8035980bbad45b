"""The prior of the R-learner on sets: which coefficients are sums of which, and what shares a scale."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.learning.set_sums import SetSums

GROUPS: Final = (
    "baseline slopes",
    "type slopes",
    "message averages",
    "message slopes",
    "type pair effects",
    "message pair effects",
)
"""What shares a scale. Averages of types, the baseline's, fatigue and rho are free: what a pull took from
fatigue the effects would take up, and both would be surer than they are right."""


class Layout(NamedTuple):
    """Coefficients that are independent in the prior, and how the design's are sums of them.

    Parameters
    ----------
    turn
        Zeros and ones, float64 of shape [design's, D']: a column holds the design's coefficients that one
        stands for. Those of a type stand for all of its candidates'.
    group
        int64 of shape [D'], places in the groups in use, -1 free.
    used
        Names of the groups in use.
    blocks
        Where each named block begins and ends.
    """

    turn: NDArray[np.float64]
    group: NDArray[np.int64]
    used: tuple[str, ...]
    blocks: dict[str, slice]

    def turned(
        self, gram: NDArray[np.float64], information: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bring the design's sums to these coefficients."""
        whole = self.turn.T @ gram @ self.turn
        return (whole + whole.T) / 2, self.turn.T @ information


def lay_out(sums: SetSums, kind: list[int], n_kinds: int) -> Layout:
    """Lay the prior out for candidates, each of a type 0 to n_kinds - 1."""
    d, p, n_candidates = sums.d, sums.n_pair_features, sums.n_candidates
    n_design = sums.n_responses * d + n_candidates * p + 1
    first_pair = sums.n_responses * d
    columns: list[list[int]] = []
    names: list[str] = []
    blocks: dict[str, slice] = {}

    def block(name: str, own: list[list[int]], average: str, others: str) -> None:
        blocks[name] = slice(len(columns), len(columns) + len(own))
        columns.extend(own)
        names.extend(
            [average if j % d == 0 else others for j in range(len(own))] if average else [others] * len(own)
        )

    def of_candidate(c: int) -> list[int]:
        return list(range((1 + c) * d, (2 + c) * d))

    block("baseline", [[j] for j in range(d)], "free", "baseline slopes")
    of_kind = [[c for c in range(n_candidates) if kind[c] == t] for t in range(n_kinds)]
    block(
        "types",
        [[of_candidate(c)[j] for c in own] for own in of_kind for j in range(d)],
        "free",
        "type slopes",
    )
    block(
        "messages",
        [[j] for c in range(n_candidates) for j in of_candidate(c)],
        "message averages",
        "message slopes",
    )
    block("fatigue", [[j] for j in range((1 + n_candidates) * d, first_pair)], "free", "free")
    block(
        "type pairs",
        [[first_pair + c * p + j for c in own] for own in of_kind for j in range(p)],
        "",
        "type pair effects",
    )
    block("pairs", [[j] for j in range(first_pair, n_design - 1)], "", "message pair effects")
    block("same topic", [[n_design - 1]], "", "free")
    used = tuple(name for name in GROUPS if name in names)
    turn = np.zeros((n_design, len(columns)))
    for place, own in enumerate(columns):
        turn[own, place] = 1.0
    group = np.array([used.index(name) if name in used else -1 for name in names], np.int64)
    return Layout(turn, group, used, blocks)
