"""Rows of the snapshot: whether they follow each other, and what stands there."""

from __future__ import annotations

import numpy as np

from decider_core.compile import I64, kernel
from decider_core.contracts import check_array


def stretch_of(rows: I64) -> slice | I64:
    """Return the slice of rows that follow each other, so that nothing is copied; else the rows themselves.

    Parameters
    ----------
    rows : i64[n]
        Not negative.

    Raises
    ------
    ContractError
        If they have another dtype or shape.
    """
    checked = check_array("rows", rows, np.int64, (None,))
    if not rows.size or not follow_each_other(checked):
        return rows
    first = int(rows[0])
    return slice(first, first + rows.size)


@kernel
def follow_each_other(rows: I64) -> bool:
    """Return whether each row is one more than the row before; there must be one at least."""
    first, n_following = rows[0], 0
    for i in range(rows.size):
        n_following += rows[i] - i == first
    return n_following == rows.size
