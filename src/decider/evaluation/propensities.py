"""Whether logged propensities hold: how often each arm came, against how often it should have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider_core.clusters import add_by_cluster
from decider_core.coverage import given_over_chance


class PropensityCheck(NamedTuple):
    """Whether the logged propensities of one arm agree with how often it was given.

    Parameters
    ----------
    arm
        The arm.
    ratio
        Mean of ``1{arm given} / propensity`` over the rows where the arm was possible: 1 if all is well.
    standard_error
        Of the ratio.
    z
        ``(ratio - 1) / standard_error``; beyond 4 in size, a false alarm has probability 6e-5.
    """

    arm: str
    ratio: float
    standard_error: float
    z: float


class PropensityBin(NamedTuple):
    """Rows whose logged propensities of one arm are alike.

    Parameters
    ----------
    arm
        The arm.
    n_rows
        How many rows.
    propensity
        Their mean propensity.
    realised
        The share of them to which the arm was given.
    standard_error
        Of `realised`, if the propensities are true.
    """

    arm: str
    n_rows: int
    propensity: float
    realised: float
    standard_error: float


class CheckSums:
    """How often each arm was given against its propensities, added up as rows pass by.

    Parameters
    ----------
    arms
        The A arms' names.
    members
        The members of all rows that will come.
    """

    def __init__(self, arms: Sequence[str], members: MemberCount) -> None:
        self._arms = arms
        self._clusters = members.clusters(2 * len(arms))
        # By cluster and arm: the sum of 1{arm given} / propensity, and the rows where the arm was possible.
        self._by_cluster = np.zeros((self._clusters.n, 2 * len(arms)))
        self._variance = np.zeros(len(arms))

    def add(self, log: Logged) -> None:
        """Add rows."""
        places = self._clusters.of(log.member_keys)
        columns, variances = given_over_chance(log.propensity, log.arm)
        self._variance += variances
        add_by_cluster(columns, places, self._by_cluster)

    def checks(self) -> list[PropensityCheck]:
        """Compare, arm by arm; an arm that was possible nowhere is left out."""
        checks = []
        for code, arm in enumerate(self._arms):
            given, rows = self._by_cluster[:, 2 * code], self._by_cluster[:, 2 * code + 1]
            n_rows, n_clusters = float(rows.sum()), np.count_nonzero(rows)
            if not n_rows:
                continue
            ratio = float(given.sum()) / n_rows
            # Under the hypothesis each row has variance (1 - p) / p, known and not estimated: no arm that was
            # never given can hide behind a variance of zero.
            error = math.sqrt(self._variance[code]) / n_rows
            if n_clusters > 1:
                squares = float(np.square(given - ratio * rows).sum())
                error = max(error, math.sqrt(n_clusters / (n_clusters - 1) * squares) / n_rows)
            z = (ratio - 1) / error if error > 0 else 0.0 if ratio == 1 else float("inf")
            checks.append(PropensityCheck(arm, ratio, error, z))
        return checks


def sample_ratio(log: Logged) -> float:
    """Give the probability of arms coming as unevenly as they did, if the logged propensities are true.

    The largest |z| of :func:`check_propensities`, over as many arms as there are (Bonferroni): an upper bound.
    """
    return ratio_of(check_propensities(log))


def ratio_of(checks: Sequence[PropensityCheck]) -> float:
    """Give the sample ratio's probability from the checks of all arms."""
    largest = max((abs(check.z) for check in checks), default=0.0)
    return min(1.0, len(checks) * math.erfc(largest / math.sqrt(2.0)))


def check_propensities(log: Logged) -> list[PropensityCheck]:
    """Compare logged propensities with realised frequencies, arm by arm.

    If the propensities are true, ``E[1{arm given} / propensity] = 1`` wherever the arm was possible; a log
    whose propensities are wrong by a factor shows one over it.
    """
    sums = CheckSums(log.arms, MemberCount.of(log.member_keys))
    sums.add(log)
    return sums.checks()


def propensity_bins(log: Logged, n_bins: int = 10) -> list[PropensityBin]:
    """Put rows into bins of about equally many by the propensity of each arm; rows of one propensity stay together.

    Parameters
    ----------
    log
        The log.
    n_bins
        At most so many for each arm.
    """
    found = []
    for code, arm in enumerate(log.arms):
        chance = log.propensity[:, code]
        possible = chance > 0
        if not possible.any():
            continue
        edges = np.unique(np.quantile(chance[possible], np.linspace(0, 1, n_bins + 1)[1:-1]))
        places = np.searchsorted(edges, chance, side="left")
        for place in np.unique(places[possible]):
            rows = possible & (places == place)
            p, given = chance[rows], log.arm[rows] == code
            # A cut below equal values can leave a bin of one row: its error says how little it tells.
            error = float(np.sqrt((p * (1 - p)).sum()) / len(p))
            found.append(PropensityBin(arm, len(p), float(p.mean()), float(given.mean()), error))
    return found
