"""One-pass off-policy sums, with Poisson resamples over members made on the fly.

For logged rows i with reward r, propensity p of the logged action, and pi the probability that the target
policy takes that action, let w = pi / p be the weight, dm the target's value under a reward model and q the
model's value of the logged action. The estimators are ratios of four sums::

    IPS    sum(w r) / n                    Horvitz and Thompson, 1952 [1]_
    SNIPS  sum(w r) / sum(w)               Swaminathan and Joachims, 2015 [2]_
    DR     sum(dm + w (r - q)) / n         Dudik, Langford and Li, 2011 [3]_

A resample gives every member a Poisson(1) count, the same to all of the member's rows, and weighs the rows by
it: the bootstrap over members in its streaming form [4]_. A count is a pure function of (seed, resample,
member), so it does not depend on how rows are cut into chunks, and two policies on one log are resampled
alike, which makes the resamples of their difference the difference of their resamples.

References
----------
.. [1] Horvitz, Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47.
.. [2] Swaminathan, Joachims, "The self-normalized estimator for counterfactual learning", NIPS 2015.
.. [3] Dudik, Langford, Li, "Doubly robust policy evaluation and learning", ICML 2011, equation 1.
.. [4] Chamandy, Muralidharan, Najmi, Naidu, "Estimating uncertainty for massive data streams", 2012.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F64, U32, U64, inline, kernel
from decider_core.contracts import (
    ContractError,
    check_array,
    check_finite,
    check_range,
    check_same_length,
)
from decider_core.random import BOOTSTRAP, _member_state, stream_key

COUNT: Final = 0
WEIGHT: Final = 1
WEIGHTED_REWARD: Final = 2
DOUBLY_ROBUST: Final = 3
N_SUMS: Final = 4

# Where a 32-bit number passes P(count <= k), k = 0..7. Counts end at 8, so their mean is 1 - 1.2e-6.
_TAIL_0, _TAIL_1, _TAIL_2, _TAIL_3, _TAIL_4, _TAIL_5, _TAIL_6, _TAIL_7 = (
    np.uint32(round(sum(math.exp(-1.0) / math.factorial(i) for i in range(k + 1)) * 2**32)) for k in range(8)
)
_LANES: Final = 16


class OffPolicySums(NamedTuple):
    """Sums over logged rows; those of two parts of a log add up to those of the whole.

    Parameters
    ----------
    totals : f64[4]
        Sums of 1, w, w r and dm + w (r - q).
    resampled : f64[4, n_resamples]
        The same, each row counted as often as its member was drawn in the resample.
    squared_weight
        Sum of w^2.
    largest_weight
        The largest w.
    """

    totals: F64
    resampled: F64
    squared_weight: float
    largest_weight: float

    @property
    def effective_rows(self) -> float:
        """Kish's effective sample size, sum(w)^2 / sum(w^2); 0 when every weight is 0."""
        weight = float(self.totals[WEIGHT])
        return weight * weight / self.squared_weight if self.squared_weight > 0 else 0.0

    @property
    def largest_share(self) -> float:
        """The largest weight's share of all weight; 0 when every weight is 0."""
        weight = float(self.totals[WEIGHT])
        return self.largest_weight / weight if weight > 0 else 0.0


class OffPolicyValues(NamedTuple):
    """The estimates of one policy's value, and of its resamples.

    Parameters
    ----------
    ips, snips, dr
        Estimates; NaN where the divisor is 0.
    resampled_ips, resampled_snips, resampled_dr : f64[n_resamples]
        Estimates on the resamples.
    """

    ips: float
    snips: float
    dr: float
    resampled_ips: F64
    resampled_snips: F64
    resampled_dr: F64


def off_policy(
    reward: F64,
    propensity: F64,
    target: F64,
    dm: F64,
    q_logged: F64,
    member_keys: U64,
    n_resamples: int,
    seed: int,
) -> OffPolicySums:
    """Add up what IPS, SNIPS and DR need, and Poisson resamples of it, in one pass.

    Parameters
    ----------
    reward : f64[n]
        Finite.
    propensity : f64[n]
        Probability with which the log took its action, in (0, 1].
    target : f64[n]
        Probability with which the target policy takes the logged action, in [0, 1].
    dm : f64[n]
        The target policy's value under the reward model; zeros turn DR into IPS when `q_logged` is zero too.
    q_logged : f64[n]
        The reward model's value of the logged action.
    member_keys : u64[n]
        Rows with one key are resampled together.
    n_resamples
        How many resamples, >= 0; for 0 only totals are made.
    seed
        The seed of the resamples.

    Raises
    ------
    ContractError
        If a dtype, length or range is wrong.

    Notes
    -----
    Costs about 30 operations per row and resample, vectorised over resamples, and 4 * n_resamples
    numbers of memory. Sums depend on the order of rows by rounding only.
    """
    arrays = {"reward": reward, "propensity": propensity, "target": target, "dm": dm, "q_logged": q_logged}
    checked = {name: check_array(name, array, np.float64, (None,)) for name, array in arrays.items()}
    keys = check_array("member_keys", member_keys, np.uint64, (None,))
    check_same_length(**checked, member_keys=keys)
    for name in ("reward", "dm", "q_logged"):
        check_finite(name, checked[name])
    check_range("propensity", checked["propensity"], 0.0, 1.0, open_low=True)
    check_range("target", checked["target"], 0.0, 1.0)
    if n_resamples < 0:
        raise ContractError(f"n_resamples must be >= 0, got {n_resamples}")
    n_lanes = -(-n_resamples // _LANES) * _LANES
    lanes = (np.arange(n_lanes, dtype=np.uint64) * np.uint64(0x9E3779B9)).astype(np.uint32)
    totals, extremes = np.zeros(N_SUMS), np.zeros(2)
    resampled = np.zeros((N_SUMS, n_lanes))
    _off_policy(
        checked["reward"],
        checked["propensity"],
        checked["target"],
        checked["dm"],
        checked["q_logged"],
        keys,
        stream_key(seed, BOOTSTRAP),
        lanes,
        totals,
        extremes,
        resampled,
    )
    return OffPolicySums(totals, resampled[:, :n_resamples].copy(), float(extremes[0]), float(extremes[1]))


def merge(first: OffPolicySums, second: OffPolicySums) -> OffPolicySums:
    """Return the sums over two disjoint parts of a log, made with the same seed.

    Raises
    ------
    ContractError
        If the numbers of resamples differ.
    """
    n_first, n_second = first.resampled.shape[1], second.resampled.shape[1]
    if n_first != n_second:
        raise ContractError(f"n_resamples must be the same in both parts, got {n_first} and {n_second}")
    return OffPolicySums(
        first.totals + second.totals,
        first.resampled + second.resampled,
        first.squared_weight + second.squared_weight,
        max(first.largest_weight, second.largest_weight),
    )


def values(sums: OffPolicySums) -> OffPolicyValues:
    """Divide the sums into IPS, SNIPS and DR."""
    point, resampled = sums.totals, sums.resampled
    with np.errstate(divide="ignore", invalid="ignore"):
        return OffPolicyValues(
            float(point[WEIGHTED_REWARD] / point[COUNT]),
            float(point[WEIGHTED_REWARD] / point[WEIGHT]),
            float(point[DOUBLY_ROBUST] / point[COUNT]),
            resampled[WEIGHTED_REWARD] / resampled[COUNT],
            resampled[WEIGHTED_REWARD] / resampled[WEIGHT],
            resampled[DOUBLY_ROBUST] / resampled[COUNT],
        )


@kernel
def _off_policy(
    reward: F64,
    propensity: F64,
    target: F64,
    dm: F64,
    q_logged: F64,
    member_keys: U64,
    stream: np.uint64,
    lanes: U32,
    totals: F64,
    extremes: F64,
    resampled: F64,
) -> None:
    low = np.uint64(0xFFFFFFFF)
    for i in range(reward.size):
        weight = target[i] / propensity[i]
        weighted = weight * reward[i]
        robust = dm[i] + weight * (reward[i] - q_logged[i])
        totals[COUNT] += 1.0
        totals[WEIGHT] += weight
        totals[WEIGHTED_REWARD] += weighted
        totals[DOUBLY_ROBUST] += robust
        extremes[0] += weight * weight
        extremes[1] = max(extremes[1], weight)
        state = _member_state(stream, member_keys[i])
        first, second = np.uint32(state & low), np.uint32(state >> np.uint64(32))
        for b in range(lanes.size):
            count = np.float64(_poisson(lanes[b], first, second))
            resampled[COUNT, b] += count
            resampled[WEIGHT, b] += count * weight
            resampled[WEIGHTED_REWARD, b] += count * weighted
            resampled[DOUBLY_ROBUST, b] += count * robust


@inline
def _poisson(lane: np.uint32, first: np.uint32, second: np.uint32) -> np.float32:
    # A 32-bit mix of (resample, member): half the width of splitmix64, so twice the numbers to a vector. Each
    # step is cast back, for Numba would widen it to 64 bits.
    x = np.uint32(lane ^ first)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) + second)
    x = np.uint32(x * np.uint32(0x846CA68B))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    one, zero = np.float32(1.0), np.float32(0.0)
    count = one if x >= _TAIL_0 else zero
    count += one if x >= _TAIL_1 else zero
    count += one if x >= _TAIL_2 else zero
    count += one if x >= _TAIL_3 else zero
    count += one if x >= _TAIL_4 else zero
    count += one if x >= _TAIL_5 else zero
    count += one if x >= _TAIL_6 else zero
    count += one if x >= _TAIL_7 else zero
    return count
