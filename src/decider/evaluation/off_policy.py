"""What a policy would have earned, from a log that another one made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import Estimate, clustered_error
from decider.evaluation.logged import Logged
from decider.evaluation.support import Limits, Support, support_of
from decider_core import estimate


@dataclass(frozen=True)
class PolicyValue:
    """A policy's value per row, and that value less the value of sending nothing.

    Parameters
    ----------
    ips, snips, dr
        Reward per row under the policy, by each estimator; `dr` is refused if no reward model was given.
    incremental_ips, incremental_snips, incremental_dr
        The same, less that of the control for everyone, on the same rows and resamples.
    send_share
        Share of rows to which the policy sends.
    support, control_support
        How well the log covers the policy, and the control.
    """

    ips: Estimate
    snips: Estimate
    dr: Estimate
    incremental_ips: Estimate
    incremental_snips: Estimate
    incremental_dr: Estimate
    send_share: float
    support: Support
    control_support: Support


@dataclass(frozen=True)
class _Judged:
    """One policy's estimates by each estimator, with what their errors are made of."""

    names = ("ips", "snips", "dr")
    values: tuple[float, ...]
    influences: tuple[NDArray[np.float64], ...]
    resampled: tuple[NDArray[np.float64], ...]


def policy_value(
    policy: NDArray[np.int64] | NDArray[np.float64],
    log: Logged,
    q_hat: NDArray[np.float64] | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    limits: Limits | None = None,
) -> PolicyValue:
    """Estimate a policy's value by IPS, SNIPS and DR, with intervals.

    For rows i with reward r, the probability pi that the policy takes the arm that was given, and its logged
    propensity p, let ``w = pi / p``; q is the reward model, and ``dm = sum_a pi(a) q(x, a)``::

        IPS    sum(w r) / n                  no bias; noisy where weights vary or rewards have a large mean
        SNIPS  sum(w r) / sum(w)             bias of order 1/n; mostly less noise; inside the rewards' range
        DR     sum(dm + w (r - q)) / n       no bias, whatever q is; less noise the better q is

    All three need true propensities. DR is free of bias only if q for a row was learnt without that row's
    reward: hand in cross-fitted values, or those of a model that was trained on other members.

    Parameters
    ----------
    policy
        What the policy does: an arm's code for each row, int64 of shape [n], or the probability of each arm,
        float64 of shape [n, A] with rows that sum to 1.
    log
        The log.
    q_hat
        The reward model's value of every arm, float64 of shape [n, A]; None for no DR.
    n_resamples
        Poisson resamples over members for the bootstrap intervals; fewer than 100 give none.
    seed
        The seed of the resamples.
    limits
        Where the log has less for this policy, estimates are refused and say why.

    Raises
    ------
    InvalidInput
        If `policy` or `q_hat` has another shape or dtype, or holds no probabilities.

    References
    ----------
    .. [1] Horvitz, Thompson, JASA 47, 1952. Swaminathan, Joachims, NIPS 2015. Dudik, Langford, Li, ICML 2011.
    """
    limits = limits or Limits()
    target = probabilities(policy, log)
    if q_hat is not None and (q_hat.dtype != np.float64 or q_hat.shape != (log.n_rows, log.n_arms)):
        rule = f"must be float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("q_hat", rule, f"{q_hat.dtype} of shape {q_hat.shape}")
    nobody = np.zeros_like(target)
    nobody[:, log.control] = 1.0
    support, control_support = support_of(target, log), support_of(nobody, log)
    why = support.refusal(limits)
    control_why = control_support.refusal(limits)
    incremental_why = why or (f"sending nothing: {control_why}" if control_why else "")
    sends = _judge(target, log, q_hat, n_resamples, seed)
    rests = _judge(nobody, log, q_hat, n_resamples, seed)
    estimates = {}
    for j, name in enumerate(_Judged.names):
        no_model = "no reward model was given" if name == "dr" and q_hat is None else ""
        estimates[name] = _estimate(
            no_model or why, sends.values[j], sends.influences[j], sends.resampled[j], log
        )
        estimates[f"incremental_{name}"] = _estimate(
            no_model or incremental_why,
            sends.values[j] - rests.values[j],
            sends.influences[j] - rests.influences[j],
            # Both were resampled with the same counts, so the difference is resampled too.
            sends.resampled[j] - rests.resampled[j],
            log,
        )
    share = float(1.0 - target[:, log.control].mean())
    return PolicyValue(**estimates, send_share=share, support=support, control_support=control_support)


def _estimate(
    why: str, value: float, influence: NDArray[np.float64], resampled: NDArray[np.float64], log: Logged
) -> Estimate:
    if why:
        return Estimate.refuse(why)
    n_members = len(np.unique(log.member_keys))
    return Estimate.of(value, clustered_error(influence, log.member_keys), resampled, n_members)


def _judge(
    target: NDArray[np.float64],
    log: Logged,
    q_hat: NDArray[np.float64] | None,
    n_resamples: int,
    seed: int,
) -> _Judged:
    taken = np.take_along_axis(target, log.arm[:, None], axis=1)[:, 0]
    dm, q_logged = np.zeros(log.n_rows), np.zeros(log.n_rows)
    if q_hat is not None:
        dm = (target * q_hat).sum(axis=1)
        q_logged = np.take_along_axis(q_hat, log.arm[:, None], axis=1)[:, 0]
    sums = estimate.off_policy(log.reward, log.taken, taken, dm, q_logged, log.member_keys, n_resamples, seed)
    found = estimate.values(sums)
    weight = taken / log.taken
    total = weight.sum()
    influences = (
        weight * log.reward - found.ips,
        weight * (log.reward - found.snips) * (log.n_rows / total) if total > 0 else np.zeros(log.n_rows),
        dm + weight * (log.reward - q_logged) - found.dr,
    )
    resampled = (found.resampled_ips, found.resampled_snips, found.resampled_dr)
    return _Judged((found.ips, found.snips, found.dr), influences, resampled)


def probabilities(policy: NDArray[np.int64] | NDArray[np.float64], log: Logged) -> NDArray[np.float64]:
    """Return what a policy does as a probability of every arm, float64 of shape [n, A]; refuse what is none."""
    if policy.dtype == np.int64 and policy.shape == (log.n_rows,):
        wrong = (policy < 0) | (policy >= log.n_arms)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            rule = f"must hold codes in [0, {log.n_arms})"
            raise InvalidInput.of("policy", rule, int(policy[row]), f"at row {row}")
        target = np.zeros((log.n_rows, log.n_arms))
        target[np.arange(log.n_rows), policy.astype(np.int64)] = 1.0
        return target
    if policy.dtype != np.float64 or policy.shape != (log.n_rows, log.n_arms):
        rule = f"must be int64 of shape ({log.n_rows},) or float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("policy", rule, f"{policy.dtype} of shape {policy.shape}")
    # Written so that NaN is wrong too.
    good = (policy >= 0).all(axis=1) & (np.abs(policy.sum(axis=1) - 1) <= 1e-9)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        found = policy[row].tolist()
        raise InvalidInput.of("policy", "must hold probabilities that sum to 1", found, f"at row {row}")
    # A probability may stand above 1 by the rounding that the sum above allows.
    return np.minimum(policy.astype(np.float64), 1.0)
