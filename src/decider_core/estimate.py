"""One-pass off-policy sums, with Poisson resamples over members made on the fly.

For logged rows i with reward r, propensity p of the logged action, and pi the probability that the target
policy takes that action, let w = pi / p be the weight, dm the target's value under a reward model and q the
model's value of the logged action. The estimators are ratios of four sums::

    IPS    sum(w r) / n                    Horvitz and Thompson, 1952 [1]_
    SNIPS  sum(w r) / sum(w)               Swaminathan and Joachims, 2015 [2]_
    DR     sum(dm + w (r - q)) / n         Dudik, Langford and Li, 2011 [3]_

How resamples are drawn: :mod:`decider_core.resample`. Two policies on one log are resampled alike.

References
----------
.. [1] Horvitz, Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47.
.. [2] Swaminathan, Joachims, "The self-normalized estimator for counterfactual learning", NIPS 2015.
.. [3] Dudik, Langford, Li, "Doubly robust policy evaluation and learning", ICML 2011, equation 1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, F64, I64, U64, inline, kernel
from decider_core.contracts import (
    ContractError,
    check_array,
    check_finite,
    check_range,
    check_same_length,
)
from decider_core.expectation import expected_value
from decider_core.random import BOOTSTRAP, stream_key
from decider_core.resample import BLOCK, Workspace, _add_block, workspace

COUNT: Final = 0
WEIGHT: Final = 1
WEIGHTED_REWARD: Final = 2
DOUBLY_ROBUST: Final = 3
N_SUMS: Final = 4

SUM_TOLERANCE: Final = 1e-5
"""How far from 1 the float32 probabilities of a row may add up."""


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
        How many resamples, in [0, 2^17]; for 0 only totals are made.
    seed
        The seed of the resamples.

    Raises
    ------
    ContractError
        If a dtype, length or range is wrong.

    Notes
    -----
    Costs about 25 operations per row and resample, vectorised over resamples, and 4 * n_resamples
    numbers of memory. Sums depend on the order of rows by rounding only; resampled ones are exact to
    about 1e-6 of their standard deviation, see :func:`decider_core.resample.resample_sums`.
    """
    arrays = {"reward": reward, "propensity": propensity, "target": target, "dm": dm, "q_logged": q_logged}
    checked = {name: check_array(name, array, np.float64, (None,)) for name, array in arrays.items()}
    keys = check_array("member_keys", member_keys, np.uint64, (None,))
    check_same_length(**checked, member_keys=keys)
    for name in ("reward", "dm", "q_logged"):
        check_finite(name, checked[name])
    check_range("propensity", checked["propensity"], 0.0, 1.0, open_low=True)
    check_range("target", checked["target"], 0.0, 1.0)
    space = workspace(N_SUMS - 1, n_resamples)
    totals, extremes = np.zeros(N_SUMS - 1), np.zeros(2)
    reward, propensity, target, dm, q_logged = checked.values()
    stream = stream_key(seed, BOOTSTRAP)
    _off_policy(reward, propensity, target, dm, q_logged, keys, stream, space, totals, extremes)
    return _sums(keys.size, totals, extremes, space, n_resamples)


def off_policy_actions(
    reward: F64,
    propensity: F64,
    arm: I64,
    target: F32,
    q_hat: F32,
    member_keys: U64,
    n_resamples: int,
    seed: int,
) -> OffPolicySums:
    """Do as :func:`off_policy`, given what the policy and the reward model say of every action.

    Reads each row of `target` and `q_hat` once and keeps nothing of it: logs of any length go through in
    chunks, whose sums :func:`merge` adds.

    Parameters
    ----------
    reward : f64[n]
        Finite.
    propensity : f64[n]
        Probability with which the log took its action, in (0, 1].
    arm : i64[n]
        The action taken, in [0, n_actions).
    target : f32[n, n_actions]
        The target policy's probabilities; each row adds up to 1 within 1e-5.
    q_hat : f32[n, n_actions]
        The reward model's values, finite.
    member_keys : u64[n]
        Rows with one key are resampled together.
    n_resamples, seed
        As in :func:`off_policy`.

    Raises
    ------
    ContractError
        If a dtype or shape is wrong, or a row breaks a rule above: the first such row is named.
    """
    reward = check_array("reward", reward, np.float64, (None,))
    n = reward.size
    propensity = check_array("propensity", propensity, np.float64, (n,))
    arm = check_array("arm", arm, np.int64, (n,))
    target = check_array("target", target, np.float32, (n, None))
    q_hat = check_array("q_hat", q_hat, np.float32, target.shape)
    keys = check_array("member_keys", member_keys, np.uint64, (n,))
    space = workspace(N_SUMS - 1, n_resamples)
    totals, extremes = np.zeros(N_SUMS - 1), np.zeros(2)
    stream = stream_key(seed, BOOTSTRAP)
    wrong = _off_policy_actions(reward, propensity, arm, target, q_hat, keys, stream, space, totals, extremes)
    if wrong >= 0:
        _refuse_row(wrong, reward, propensity, arm, target, q_hat)
    return _sums(n, totals, extremes, space, n_resamples)


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


def _sums(n: int, totals: F64, extremes: F64, space: Workspace, n_resamples: int) -> OffPolicySums:
    counts, resampled = space.sums(n_resamples)
    return OffPolicySums(
        np.concatenate(([float(n)], totals)),
        np.concatenate((counts[None], resampled)),
        float(extremes[0]),
        float(extremes[1]),
    )


def _refuse_row(row: int, reward: F64, propensity: F64, arm: I64, target: F32, q_hat: F32) -> None:
    # The kernel found that this row breaks a rule; here it is found which.
    one = slice(row, row + 1)
    try:
        check_finite("reward", reward[one])
        check_range("propensity", propensity[one], 0.0, 1.0, open_low=True)
        check_range("arm", arm[one], 0, target.shape[1] - 1)
        check_finite("q_hat", q_hat[row])
        check_range("target", target[row], 0.0, 1.0)
    except ContractError as error:
        raise ContractError(f"{error} of row {row}") from None
    total = float(target[row].sum(dtype=np.float64))
    raise ContractError(f"target must add up to 1 within {SUM_TOLERANCE:g}, got {total} at row {row}")


@kernel
def _off_policy(
    reward: F64,
    propensity: F64,
    target: F64,
    dm: F64,
    q_logged: F64,
    member_keys: U64,
    stream: np.uint64,
    space: Workspace,
    totals: F64,
    extremes: F64,
) -> None:
    for start in range(0, reward.size, BLOCK):
        n = min(BLOCK, reward.size - start)
        for i in range(n):
            row = start + i
            weight = target[row] / propensity[row]
            _put(space, i, member_keys[row], weight, reward[row], dm[row], q_logged[row], extremes)
        _add_block(n, stream, space, totals)


@kernel
def _off_policy_actions(
    reward: F64,
    propensity: F64,
    arm: I64,
    target: F32,
    q_hat: F32,
    member_keys: U64,
    stream: np.uint64,
    space: Workspace,
    totals: F64,
    extremes: F64,
) -> int:
    # Returns -1, or the first row that breaks a rule.
    n_actions = target.shape[1]
    for start in range(0, reward.size, BLOCK):
        n = min(BLOCK, reward.size - start)
        for i in range(n):
            row = start + i
            good = propensity[row] > 0.0 and propensity[row] <= 1.0 and abs(reward[row]) < np.inf
            if not (good and arm[row] >= 0 and arm[row] < n_actions):
                return row
            dm, total, n_wrong = expected_value(target, q_hat, row)
            if n_wrong > 0 or abs(total - 1.0) > SUM_TOLERANCE:
                return row
            weight = target[row, arm[row]] / propensity[row]
            q_logged = np.float64(q_hat[row, arm[row]])
            _put(space, i, member_keys[row], weight, reward[row], dm, q_logged, extremes)
        _add_block(n, stream, space, totals)
    return -1


@inline
def _put(
    space: Workspace,
    i: int,
    member_key: np.uint64,
    weight: float,
    reward: float,
    dm: float,
    q_logged: float,
    extremes: F64,
) -> None:
    space.keys[i] = member_key
    space.values[WEIGHT - 1, i] = weight
    space.values[WEIGHTED_REWARD - 1, i] = weight * reward
    space.values[DOUBLY_ROBUST - 1, i] = dm + weight * (reward - q_logged)
    extremes[0] += weight * weight
    extremes[1] = max(extremes[1], weight)
