"""Estimates from sums over rows: whatever the number of rows, they pass by once and are forgotten.

Every estimator is a sum of ratios of sums (:class:`decider.evaluation.rows.Terms`). Its value needs the sums
of its columns; its error needs them by cluster, since a linearised ratio is a sum of columns too; its
bootstrap needs them over Poisson resamples of members. All three add up chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import cached_property
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.ahead import SideBySide
from decider.evaluation.intervals import LEAST_RESAMPLES, Estimate
from decider.evaluation.members import Clusters, MemberCount
from decider.evaluation.rows import Terms
from decider_core.clusters import add_by_cluster
from decider_core.resample import ResampledSums, merge_sums, resample_sums

F64 = NDArray[np.float64]
NameT = TypeVar("NameT", bound=Hashable)
Signed = list[tuple[float, Hashable]]
Layout = dict[Hashable, tuple[tuple[int, int | None], ...]]

BLOCK_ROWS: Final = (1 << 13) - 8
"""Rows whose columns are laid side by side at a time. A power of two would put all columns into the same sets of L1."""
BANK_COLUMNS: Final = 16
"""Columns that are added up together; banks may be added up side by side."""


class TermSums:
    """The sums of many estimates over the same rows; all their resamples are made in one pass.

    Parameters
    ----------
    members
        The members of all rows that will come.
    n_resamples
        Poisson resamples over members; fewer than 100 give no bootstrap.
    seed
        The seed of the resamples.
    side
        Threads on which banks of columns are added up.
    """

    def __init__(
        self, members: MemberCount, n_resamples: int, seed: int, side: SideBySide | None = None
    ) -> None:
        self._members = members
        self._side = side or SideBySide(1)
        # Resampling to no purpose would be the dearest part by far.
        self._n_resamples = n_resamples if n_resamples >= LEAST_RESAMPLES else 0
        self._seed = seed
        self._layout: Layout = {}
        self._clusters: Clusters | None = None
        self._banks: list[_Bank] = []
        self._rows: F64 = np.zeros(0)

    def add(self, terms: Mapping[NameT, Terms], member_keys: NDArray[np.uint64]) -> None:
        """Add rows.

        Parameters
        ----------
        terms
            By name, all over the same n rows; the same names, and the same columns shared among them, in every
            chunk.
        member_keys
            uint64 of shape [n].
        """
        layout, columns = _laid_out(terms)
        if not columns or not len(member_keys):
            return
        if self._clusters is None:
            self._layout, self._clusters = layout, self._members.clusters(len(columns))
            self._rows = np.zeros(self._clusters.n)
            self._banks = [
                _Bank(len(some), self._clusters.n, self._n_resamples, self._seed) for some in _split(columns)
            ]
        if layout != self._layout:
            raise ValueError("terms must have the same names and columns in every chunk")
        clusters = self._clusters.of(member_keys)
        self._rows += np.bincount(clusters, minlength=self._clusters.n)
        self._side.map(
            lambda job: job[0].add(job[1], member_keys, clusters),
            zip(self._banks, _split(columns), strict=True),
        )

    def estimate(self, name: Hashable, less: Hashable | None = None) -> Estimate:
        """Give an estimate with its intervals, or that of a difference of two on the same rows."""
        signed = _signed((name, less))
        value, error = self._value_and_error(signed)
        if not np.isfinite(value):
            return Estimate.refuse("no row matches: the estimate would divide by 0")
        return Estimate.of(value, error, self._resampled(signed), self._members.n)

    def value_and_error(self, name: Hashable, less: Hashable | None = None) -> tuple[float, float]:
        """Give an estimate, or a difference of two, and its standard error, clustered by member.

        Notes
        -----
        With S_g the sum of the linearised estimate over cluster g, and G clusters, the error is
        ``sqrt(G / (G - 1) * sum_g S_g^2) / n``; NaN for fewer than two clusters.
        """
        return self._value_and_error(_signed((name, less)))

    def distance(
        self, one: tuple[Hashable, Hashable | None], other: tuple[Hashable, Hashable | None]
    ) -> tuple[float, float]:
        """Give how far two estimates are apart, each of them perhaps a difference, and the error of that."""
        return self._value_and_error(_signed(one) + [(-sign, name) for sign, name in _signed(other)])

    def by_cluster(self, name: Hashable) -> tuple[F64, F64]:
        """Give the sums of an estimate's first numerator, and the numbers of rows, of clusters that have any."""
        seen = self._rows > 0
        return self._column(self._layout[name][0][0]).by_cluster[seen], self._rows[seen]

    def _column(self, place: int | None) -> _Column:
        if place is None:
            n_rows = float(self._rows.sum())
            return _Column(n_rows, self._rows, self._banks[0].sums.counts)
        bank, place = self._banks[place // BANK_COLUMNS], place % BANK_COLUMNS
        return _Column(float(bank.sums.totals[place]), bank.turned[place], bank.sums.resampled[place])

    def _parts(self, signed: Signed) -> Iterator[tuple[float, _Column, _Column]]:
        if not self._banks:
            raise ValueError("rows must have been added before there are estimates")
        for sign, name in signed:
            for above, below in self._layout[name]:
                yield sign, self._column(above), self._column(below)

    def _value_and_error(self, signed: Signed) -> tuple[float, float]:
        value, n_rows = 0.0, float(self._rows.sum())
        pull = np.zeros_like(self._rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            for sign, above, below in self._parts(signed):
                ratio = float(np.divide(above.total, below.total))
                value += sign * ratio
                apart = above.by_cluster - ratio * below.by_cluster
                pull += sign * np.divide(n_rows, below.total) * apart
        n_clusters = np.count_nonzero(self._rows)
        if n_clusters < 2:
            return value, float("nan")
        return value, float(np.sqrt(n_clusters / (n_clusters - 1) * (pull @ pull)) / n_rows)

    def _resampled(self, signed: Signed) -> F64:
        drawn = np.zeros(self._n_resamples)
        with np.errstate(divide="ignore", invalid="ignore"):
            for sign, above, below in self._parts(signed):
                drawn += sign * above.resampled / below.resampled
        return drawn


class _Column(NamedTuple):
    """A column's sums over all rows, by cluster and over resamples; of ones, where it is the rows themselves."""

    total: float
    by_cluster: F64
    resampled: F64


class _Bank:
    """The sums of a few columns."""

    def __init__(self, n_columns: int, n_clusters: int, n_resamples: int, seed: int) -> None:
        # By rows: the numbers that a row is added to lie beside one another.
        self.by_cluster = np.zeros((n_clusters, n_columns))
        self._n_resamples = n_resamples
        self._seed = seed
        self.sums = ResampledSums(
            0, np.zeros(n_columns), np.zeros(n_resamples), np.zeros((n_columns, n_resamples))
        )

    @cached_property
    def turned(self) -> F64:
        """The sums by cluster, column by column; all rows must have been added."""
        return np.ascontiguousarray(self.by_cluster.T)

    def add(self, columns: list[F64], keys: NDArray[np.uint64], clusters: NDArray[np.int64]) -> None:
        for first in range(0, len(keys), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            stacked = np.array([column[rows] for column in columns])
            add_by_cluster(stacked, clusters[rows], self.by_cluster)
            more = resample_sums(stacked, keys[rows], self._n_resamples, self._seed)
            self.sums = merge_sums(self.sums, more)


def estimates_of(
    terms: Mapping[str, Terms], member_keys: NDArray[np.uint64], n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Turn terms over rows in memory into estimates; see :class:`TermSums`."""
    sums = TermSums(MemberCount.of(member_keys), n_resamples, seed)
    sums.add(terms, member_keys)
    return {name: sums.estimate(name) for name in terms}


def _split(columns: list[F64]) -> list[list[F64]]:
    return [columns[first : first + BANK_COLUMNS] for first in range(0, len(columns), BANK_COLUMNS)]


def _signed(pair: tuple[Hashable, Hashable | None]) -> Signed:
    name, less = pair
    return [(1.0, name)] if less is None else [(1.0, name), (-1.0, less)]


def _laid_out(terms: Mapping[NameT, Terms]) -> tuple[Layout, list[F64]]:
    # Columns are told apart by identity: what estimators share is one array.
    columns: dict[int, F64] = {}
    for each in terms.values():
        columns |= {id(column): column for part in each.parts for column in part if column is not None}
    place = {column: j for j, column in enumerate(columns)}
    layout: Layout = {
        name: tuple(
            (place[id(above)], None if below is None else place[id(below)]) for above, below in each.parts
        )
        for name, each in terms.items()
    }
    return layout, list(columns.values())
