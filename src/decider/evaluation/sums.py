"""Estimates from sums over rows: whatever the number of rows, they pass by once and are forgotten.

Every estimator is a sum of ratios of sums (:class:`decider.evaluation.rows.Terms`). Its value needs the sums
of its columns; its error needs them by cluster, since a linearised ratio is a sum of columns too; its
bootstrap needs them over Poisson resamples of members. All three add up chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.intervals import LEAST_RESAMPLES, Estimate
from decider.evaluation.members import Clusters, MemberCount
from decider.evaluation.rows import Terms
from decider_core.clusters import add_by_cluster
from decider_core.resample import ResampledSums, merge_sums, resample_sums

F64 = NDArray[np.float64]
NameT = TypeVar("NameT", bound=Hashable)
Signed = list[tuple[float, Hashable]]
Layout = dict[Hashable, tuple[tuple[int, int | None], ...]]

BLOCK_ROWS: Final = 1 << 15
"""Rows whose columns are laid side by side at a time."""


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
    """

    def __init__(self, members: MemberCount, n_resamples: int, seed: int) -> None:
        self._members = members
        # Resampling to no purpose would be the dearest part by far.
        self._n_resamples = n_resamples if n_resamples >= LEAST_RESAMPLES else 0
        self._seed = seed
        self._layout: Layout = {}
        self._clusters: Clusters | None = None
        self._sums: ResampledSums | None = None
        self._by_cluster: F64 = np.zeros((0, 0))
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
            self._by_cluster = np.zeros((self._clusters.n, len(columns)))
            self._rows = np.zeros(self._clusters.n)
        if layout != self._layout:
            raise ValueError("terms must have the same names and columns in every chunk")
        for first in range(0, len(member_keys), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            stacked, keys = np.array([column[rows] for column in columns]), member_keys[rows]
            places = self._clusters.of(keys)
            add_by_cluster(stacked, places, self._by_cluster)
            self._rows += np.bincount(places, minlength=self._clusters.n)
            more = resample_sums(stacked, keys, self._n_resamples, self._seed)
            self._sums = more if self._sums is None else merge_sums(self._sums, more)

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
        return self._by_cluster[seen, self._layout[name][0][0]], self._rows[seen]

    def _all(self) -> ResampledSums:
        if self._sums is None:
            raise ValueError("rows must have been added before there are estimates")
        return self._sums

    def _parts(self, signed: Signed) -> Iterator[tuple[float, int, int | None]]:
        for sign, name in signed:
            for above, below in self._layout[name]:
                yield sign, above, below

    def _value_and_error(self, signed: Signed) -> tuple[float, float]:
        sums, value = self._all(), 0.0
        pull = np.zeros_like(self._rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            for sign, above, below in self._parts(signed):
                of_below = sums.n_rows if below is None else sums.totals[below]
                ratio = float(np.divide(sums.totals[above], of_below))
                value += sign * ratio
                beneath = self._rows if below is None else self._by_cluster[:, below]
                apart = self._by_cluster[:, above] - ratio * beneath
                pull += sign * apart * np.divide(sums.n_rows, of_below)
        n_clusters = np.count_nonzero(self._rows)
        if n_clusters < 2:
            return value, float("nan")
        return value, float(np.sqrt(n_clusters / (n_clusters - 1) * np.square(pull).sum()) / sums.n_rows)

    def _resampled(self, signed: Signed) -> F64:
        sums = self._all()
        drawn = np.zeros(self._n_resamples)
        with np.errstate(divide="ignore", invalid="ignore"):
            for sign, above, below in self._parts(signed):
                drawn += (
                    sign * sums.resampled[above] / (sums.counts if below is None else sums.resampled[below])
                )
        return drawn


def estimates_of(
    terms: Mapping[str, Terms], member_keys: NDArray[np.uint64], n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Turn terms over rows in memory into estimates; see :class:`TermSums`."""
    sums = TermSums(MemberCount.of(member_keys), n_resamples, seed)
    sums.add(terms, member_keys)
    return {name: sums.estimate(name) for name in terms}


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
