"""Which members a log has, and whose rows stand together when errors are made: in memory that does not grow.

Up to :data:`MOST_MEMBERS` members every one is known by its key, is counted exactly, and has sums of its own.
Beyond, members are counted by marks (to 0.1 %), and keyed groups of them take their place: the groups' sums
are as independent as the members', so errors are the same in the mean, and differ by chance by
``1 / sqrt(2 n_groups)``: 0.3 % with 65,536 groups.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.clusters import count_marked, keyed_groups, mark_members, no_marks
from decider_core.random import FOLD, stream_key

MOST_MEMBERS: Final = 1 << 16
"""So many members are known one by one, and so many groups are made of more."""
MOST_SUMS: Final = 1 << 24
"""So many sums by cluster are kept, in 128 MiB: with more than 256 columns there are fewer groups."""
LEAST_GROUPS: Final = 1 << 12

# Streams of their own: groups and marks have nothing to do with halves, folds or one another.
_GROUPS: Final = 3
_MARKS: Final = 4


class Clusters(NamedTuple):
    """Whose rows stand together.

    Parameters
    ----------
    n
        How many clusters there are at most.
    known
        The members' keys in order, each a cluster of its own, uint64 of shape [n]; None where clusters are
        groups of members.
    """

    n: int
    known: NDArray[np.uint64] | None

    def of(self, member_keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Give each row's cluster, int64 of shape [rows], in [0, n)."""
        if self.known is None:
            return keyed_groups(stream_key(0, FOLD, 0, _GROUPS), member_keys, self.n)
        return np.searchsorted(self.known, member_keys).astype(np.int64, copy=False)


class MemberCount:
    """Members, counted as their rows pass by."""

    def __init__(self) -> None:
        self._known: NDArray[np.uint64] | None = np.empty(0, np.uint64)
        self._marks: NDArray[np.uint8] | None = None
        self._n_rows = 0

    @classmethod
    def of(cls, member_keys: NDArray[np.uint64]) -> MemberCount:
        """Count the members of a log in memory."""
        count = cls()
        count.add(member_keys)
        return count

    def of_some(self) -> MemberCount:
        """Return a count, of nobody yet, for some of these members: by marks at once where they are many."""
        count = MemberCount()
        if self._marks is not None:
            count._known, count._marks = None, no_marks()
        return count

    def add(self, member_keys: NDArray[np.uint64]) -> None:
        """Count the members of more rows, who may have been seen before."""
        self._n_rows += len(member_keys)
        if self._known is not None:
            self._known = np.union1d(self._known, member_keys)
            if len(self._known) <= MOST_MEMBERS:
                return
            member_keys, self._known, self._marks = self._known, None, no_marks()
        if self._marks is not None:
            mark_members(stream_key(0, FOLD, 0, _MARKS), member_keys, self._marks)

    @property
    def is_exact(self) -> bool:
        """Whether every member is known by its key."""
        return self._marks is None

    @property
    def n(self) -> int:
        """How many members: exactly up to 65,536, else to 0.1 %."""
        if self._marks is not None:
            # An estimate; but each member has a row.
            return min(round(count_marked(self._marks)), self._n_rows)
        return 0 if self._known is None else len(self._known)

    def clusters(self, n_columns: int) -> Clusters:
        """Say whose rows stand together in sums of so many columns; all of them must have been counted before."""
        n_most = min(MOST_MEMBERS, max(LEAST_GROUPS, MOST_SUMS // max(n_columns, 1)))
        if self._known is not None and len(self._known) <= n_most:
            return Clusters(len(self._known), self._known)
        return Clusters(1 << (n_most.bit_length() - 1), None)
