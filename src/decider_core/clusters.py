"""Sums by cluster, and how many members there are, whatever the number of rows: both add up across chunks.

A cluster is a member, or a keyed group of members. Groups are made without looking at what is added up, so
their sums are independent of one another as members' are: a variance that is taken from their squares has the
same mean, and a relative standard deviation of about ``sqrt(2 / n_groups)`` more.

References
----------
.. [1] Whang, Vander-Zanden, Taylor, "A linear-time probabilistic counting algorithm for database
       applications", ACM Transactions on Database Systems 15, 1990.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from decider_core.compile import F64, I64, U8, U64, kernel
from decider_core.contracts import ContractError, check_array, check_output
from decider_core.splitmix import member_state

MARKS: Final = 1 << 24
"""Bits of a counter: 2 MB, which tell up to 10^8 members to 0.1 %."""


def add_by_cluster(columns: F64, clusters: I64, sums: F64) -> None:
    """Add up columns cluster by cluster, in place.

    Parameters
    ----------
    columns : f64[n_columns, n]
    clusters : i64[n]
        The cluster of each row, in [0, n_clusters).
    sums : f64[n_clusters, n_columns]
        Changed in place: a row's numbers lie beside one another, so that it costs few cache lines.

    Raises
    ------
    ContractError
        If a dtype or shape is wrong or a cluster out of range. Nothing is changed.
    """
    columns = check_array("columns", columns, np.float64, (None, None))
    clusters = check_array("clusters", clusters, np.int64, (columns.shape[1],))
    sums = check_output("sums", sums, np.float64, (len(sums), len(columns)))
    if clusters.size and not 0 <= clusters.min() <= clusters.max() < len(sums):
        found = f"{clusters.min()} to {clusters.max()}"
        raise ContractError(f"clusters must be in [0, {len(sums)}), got {found}")
    _add_by_cluster(columns, clusters, sums)


def keyed_groups(stream: np.uint64, member_keys: U64, n_groups: int) -> I64:
    """Put every member into one of `n_groups` groups, a power of two: i64[n]."""
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    if not 1 <= n_groups <= 1 << 31 or n_groups & (n_groups - 1):
        raise ContractError(f"n_groups must be a power of two in [1, 2^31], got {n_groups}")
    groups = np.empty(member_keys.size, np.int64)
    _keyed_groups(np.uint64(stream), member_keys, np.uint64(n_groups - 1), groups)
    return groups


def no_marks() -> U8:
    """Return the marks of nobody, u8[MARKS / 8]; those of two parts of a log are joined by ``|``."""
    return np.zeros(MARKS // 8, np.uint8)


def mark_members(stream: np.uint64, member_keys: U64, marks: U8) -> None:
    """Mark each member's bit, in place; once or more often makes no difference."""
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    marks = check_output("marks", marks, np.uint8, (MARKS // 8,))
    _mark_members(np.uint64(stream), member_keys, marks)


def count_marked(marks: U8) -> float:
    """Estimate how many members were marked, by the share of bits that stayed free [1]_.

    Notes
    -----
    With t members a bit its relative standard error is ``sqrt(exp(t) - t - 1) / (t sqrt(MARKS))``: 2e-4 at a
    million members, 8e-4 at 10^8. Beyond 2.8e8 members no bit is free, and it stays at that number.
    """
    marks = check_array("marks", marks, np.uint8, (MARKS // 8,))
    n_free = MARKS - int(np.bitwise_count(marks).sum(dtype=np.int64))
    return MARKS * math.log(MARKS / max(n_free, 1))


@kernel
def _add_by_cluster(columns: F64, clusters: I64, sums: F64) -> None:
    for i in range(clusters.size):
        row = sums[clusters[i]]
        for c in range(row.size):
            row[c] += columns[c, i]


@kernel
def _keyed_groups(stream: np.uint64, member_keys: U64, mask: np.uint64, groups: I64) -> None:
    for i in range(groups.size):
        groups[i] = np.int64(member_state(stream, member_keys[i]) & mask)


@kernel
def _mark_members(stream: np.uint64, member_keys: U64, marks: U8) -> None:
    for i in range(member_keys.size):
        bit = member_state(stream, member_keys[i]) & np.uint64(MARKS - 1)
        marks[np.int64(bit >> np.uint64(3))] |= np.uint8(1 << (bit & np.uint64(7)))
