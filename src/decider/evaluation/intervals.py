"""A number with its uncertainty, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.95
"""The coverage that intervals claim."""


class Interval(NamedTuple):
    """Two ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error and intervals, or a refusal.

    Parameters
    ----------
    value
        The estimate; None if refused.
    standard_error
        Its standard error, clustered by member; None if refused.
    normal
        The 95 % interval from the normal law; None if refused.
    bootstrap
        The 95 % percentile interval of the resamples over members; None if refused or not resampled.
    refused
        Why there is no number; "" if there is one.
    """

    value: float | None
    standard_error: float | None = None
    normal: Interval | None = None
    bootstrap: Interval | None = None
    refused: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.refused):
            raise ValueError(f"refused must be given if and only if there is no value, got {self.refused!r}")

    @classmethod
    def refuse(cls, why: str) -> Estimate:
        """Give no number, and say why."""
        return cls(None, refused=why)

    @classmethod
    def of(
        cls, value: float, standard_error: float, resampled: NDArray[np.float64] | None = None
    ) -> Estimate:
        """Give a number with its intervals.

        Parameters
        ----------
        value
            The estimate.
        standard_error
            Its standard error.
        resampled
            Estimates on resamples; an interval is taken from 100 or more.
        """
        half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * standard_error
        bootstrap = None
        if resampled is not None and len(resampled) >= 100:
            if not np.isfinite(resampled).all():
                n_wrong = int((~np.isfinite(resampled)).sum())
                return cls.refuse(f"{n_wrong} of {len(resampled)} resamples have no matching row")
            low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            bootstrap = Interval(float(low), float(high))
        return cls(value, standard_error, Interval(value - half, value + half), bootstrap)


def clustered_error(influence: NDArray[np.float64], member_keys: NDArray[np.uint64]) -> float:
    """Standard error of a mean of influence values whose rows depend on one another within members.

    With S_g the sum of the values of member g, G members and n rows:
    ``sqrt(G / (G - 1) * sum_g S_g^2) / n``.

    Parameters
    ----------
    influence
        float64 of shape [n], summing to about zero.
    member_keys
        uint64 of shape [n].

    Returns
    -------
    float
        NaN for fewer than two members.
    """
    sums = _member_sums(influence, member_keys)
    n_members = len(sums)
    if n_members < 2:
        return float("nan")
    return float(np.sqrt(n_members / (n_members - 1) * np.square(sums).sum()) / len(influence))


def _member_sums(values: NDArray[np.float64], member_keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    members, places = np.unique(member_keys, return_inverse=True)
    if len(members) == len(values):
        return values
    sums: NDArray[np.float64] = np.bincount(places, weights=values).astype(np.float64)
    return sums
