"""The sums that a frontier is made of: a row is added once, to the first volume that it is in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.intervals import LEVEL, Interval
from decider.evaluation.members import MemberCount
from decider_core.clusters import add_by_cluster
from decider_core.resample import resample_sums

F64 = NDArray[np.float64]

ROWS, GAIN, HARM = 0, 1, 2
"""The columns: ones, the gain of sending the row its best message, and the harm of it."""


class Banded(NamedTuple):
    """A mean per row, its standard error, and its end points in a band that holds all means together."""

    mean: float
    standard_error: float
    band: Interval


class FrontierSums:
    """What rows bring, by volume: chunks add up.

    Parameters
    ----------
    members
        The members of all rows that will come.
    n_volumes
        How many rising volumes there are.
    n_resamples, seed
        Poisson resamples over members.
    """

    def __init__(self, members: MemberCount, n_volumes: int, n_resamples: int, seed: int) -> None:
        # One place more: rows that are in no volume count among all rows.
        self._n_places = n_volumes + 1
        self._n_resamples = n_resamples
        self._seed = seed
        self._clusters = members.clusters(3 * self._n_places)
        self._by_cluster = np.zeros((self._clusters.n * self._n_places, 3))
        self._totals = np.zeros((self._n_places, 3))
        self._resampled = np.zeros((self._n_places, 3, n_resamples))

    def add(self, columns: F64, places: NDArray[np.int64], member_keys: NDArray[np.uint64]) -> None:
        """Add rows.

        Parameters
        ----------
        columns
            Ones, gains and harms, float64 of shape [3, n].
        places
            The first volume of each row, see :func:`decider.evaluation.ranks.first_volumes`.
        member_keys
            uint64 of shape [n].
        """
        clusters = self._clusters.of(member_keys)
        add_by_cluster(columns, clusters * self._n_places + places, self._by_cluster)
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(self._n_places + 1))
        for place in np.flatnonzero(np.diff(ends)):
            rows = order[ends[place] : ends[place + 1]]
            sums = resample_sums(columns[1:, rows], member_keys[rows], self._n_resamples, self._seed)
            self._totals[place] += sums.n_rows, *sums.totals
            self._resampled[place, ROWS] += sums.counts
            self._resampled[place, 1:] += sums.resampled

    def lines(self) -> Lines:
        """Add up the volumes that a row is in."""
        by_cluster = self._by_cluster.reshape(self._clusters.n, self._n_places, 3)
        seen = by_cluster[:, :, ROWS].any(axis=1)
        by_cluster, totals, resampled = (
            np.cumsum(sums, axis=axis)
            for sums, axis in ((by_cluster[seen], 1), (self._totals, 0), (self._resampled, 0))
        )
        return Lines(totals, by_cluster, resampled)


class Lines(NamedTuple):
    """Sums of the three columns up to every volume, the last of them all rows.

    Parameters
    ----------
    totals
        float64 of shape [volumes + 1, 3].
    by_cluster
        float64 of shape [clusters, volumes + 1, 3].
    resampled
        float64 of shape [volumes + 1, 3, resamples].
    """

    totals: F64
    by_cluster: F64
    resampled: F64

    def banded(self, weights: F64, places: NDArray[np.int64], less: int | None = None) -> list[Banded]:
        """Give means per row of all rows, with sup-t bands, of weighted columns up to volumes.

        Parameters
        ----------
        weights
            What each column counts, float64 of shape [3].
        places
            Which volumes, int64 of shape [lines].
        less
            The means of this volume less those of `places`, instead of the latter.
        """

        def line(sums: F64, axis: int) -> F64:
            mixed = np.tensordot(sums, weights, axes=(axis, 0))
            chosen = mixed.take(places, axis=axis - 1)
            return chosen if less is None else mixed.take([less], axis=axis - 1) - chosen

        n_rows = self.totals[-1, ROWS]
        means = line(self.totals, 1) / n_rows
        apart = line(self.by_cluster, 2) - self.by_cluster[:, -1, [ROWS]] * means
        n_clusters = len(apart)
        scale = n_clusters / (n_clusters - 1) if n_clusters > 1 else np.nan
        errors = np.sqrt(scale * np.square(apart).sum(axis=0)) / n_rows
        moved, furthest = errors > 0, 0.0
        if moved.any():
            drawn = line(self.resampled, 1) / self.resampled[-1, ROWS]
            distance = np.abs(drawn[moved] - means[moved, None]) / errors[moved, None]
            furthest = float(np.quantile(distance.max(axis=0), LEVEL))
        return [
            Banded(mean, error, Interval(mean - furthest * error, mean + furthest * error))
            for mean, error in zip(means.tolist(), errors.tolist(), strict=True)
        ]
