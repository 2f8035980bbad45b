"""Bounds of what a row could have brought, for intervals that hold at any number of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import Interval, empirical_bernstein
from decider.evaluation.logged import Logged
from decider.evaluation.rows import Rows

F64 = NDArray[np.float64]


class Bounds:
    """The bounds of a policy's terms over all rows, had any arm been given and any reward come.

    Parameters
    ----------
    largest_ratio
        The largest probability of the policy over the log's.
    reward_range
        The least and the largest reward that could be.
    """

    def __init__(self, largest_ratio: float, reward_range: tuple[float, float]) -> None:
        self._ratio = largest_ratio
        self._range = reward_range
        self._q = (float("inf"), -float("inf"))
        self._dm = (float("inf"), -float("inf"))

    def add(self, rows: Rows, q_hat: F64 | None) -> None:
        """Widen by the model's values: `dm` of rows, and `q_hat` of every arm."""
        if q_hat is not None and rows.dm is not None and len(rows.dm):
            self._q = min(self._q[0], float(q_hat.min())), max(self._q[1], float(q_hat.max()))
            self._dm = min(self._dm[0], float(rows.dm.min())), max(self._dm[1], float(rows.dm.max()))

    def interval(self, name: str, sums: F64, rows: F64) -> Interval:
        """Give the empirical Bernstein interval of IPS or DR from sums and numbers of rows by cluster.

        Clusters are independent, and none has more rows than the one with the most.
        """
        low, high = self._range
        base_low = base_high = 0.0
        least, most = min(0.0, low), max(0.0, high)
        if name == "dr":
            base_low, base_high = self._dm
            least, most = min(0.0, low - self._q[1]), max(0.0, high - self._q[0])
        low_end, high_end = base_low + self._ratio * least, base_high + self._ratio * most
        most_rows = float(rows.max())
        if most_rows > 1:
            low_end, high_end = min(0.0, most_rows * low_end), max(0.0, most_rows * high_end)
        share = len(sums) / float(rows.sum())
        return empirical_bernstein(sums * share, low_end * share, high_end * share)


def check_rewards(log: Logged, reward_range: tuple[float, float], first_row: int) -> None:
    """Refuse rewards out of the range; rows are counted from `first_row`."""
    low, high = reward_range
    outside = (log.reward < low) | (log.reward > high)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        rule = f"must be in reward_range [{low:g}, {high:g}]"
        place = f"at row {first_row + row}"
        raise InvalidInput.of(f"y:{log.reward_name}", rule, float(log.reward[row]), place)
