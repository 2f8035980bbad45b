"""One policy by every estimator: values, values against never messaging, intervals, gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, UnknownName
from decider.evaluation import estimators as made_by
from decider.evaluation.intervals import (
    LEVEL,
    Estimate,
    Interval,
    clustered_error,
    empirical_bernstein,
    member_sums,
)
from decider.evaluation.logged import Logged
from decider.evaluation.off_policy import probabilities
from decider.evaluation.rows import Rows, Terms, arm_rows, estimates_of, less
from decider.evaluation.support import Limits, Support, sample_ratio, support_of, support_of_groups
from decider.evaluation.thresholds import Rule, Thresholds, chosen_terms, threshold_candidates

F64 = NDArray[np.float64]

PLAIN: Final[Mapping[str, Callable[[Rows], Terms]]] = {
    "replay": made_by.replay,
    "ips": made_by.ips,
    "snips": made_by.snips,
    "dm": made_by.direct,
    "dr": made_by.dr,
    "sndr": made_by.sndr,
    "mips": made_by.mips,
}
THRESHOLDED: Final[Mapping[str, Callable[[Rows, float], Terms]]] = {
    "clipped_ips": made_by.clipped_ips,
    "switch_dr": made_by.switch_dr,
    "dr_shrunk": made_by.dr_shrunk,
}
ESTIMATORS: Final = (*PLAIN, *THRESHOLDED)
"""The names of all estimators."""
_BY_MODEL: Final = ("dm", "dr", "sndr", "switch_dr", "dr_shrunk")
_UNBIASED: Final[Mapping[str, str]] = {
    "replay": "snips",
    "mips": "ips",
    "clipped_ips": "ips",
    "dm": "dr",
    "switch_dr": "dr",
    "dr_shrunk": "dr",
}
"""For an estimator with a bias that does not vanish, the one to which its distance bounds that bias."""


@dataclass(frozen=True)
class PolicyEstimates:
    """A policy's value per row by several estimators, and that value less the value of sending nothing.

    Parameters
    ----------
    values
        By estimator.
    incremental
        By estimator: the same, less that of the control for everyone, on the same rows and resamples.
    thresholds
        By estimator, of those that have one: what was chosen for the policy, and by which rule.
    support, control_support
        How well the log covers the policy, and the control.
    sample_ratio
        Probability that arms come as unevenly as they did, if the logged propensities are true.
    """

    values: dict[str, Estimate]
    incremental: dict[str, Estimate]
    thresholds: dict[str, Thresholds]
    support: Support
    control_support: Support
    sample_ratio: float


def judge_policy(
    policy: NDArray[np.int64] | F64,
    log: Logged,
    q_hat: F64 | None = None,
    *,
    estimators: Sequence[str] = ESTIMATORS,
    groups: NDArray[np.int64] | None = None,
    reward_range: tuple[float, float] | None = None,
    rule: Rule = "mse",
    n_resamples: int = 1000,
    seed: int = 0,
    limits: Limits | None = None,
) -> PolicyEstimates:
    """Estimate a policy's value by each estimator of :mod:`decider.evaluation.estimators`, with intervals.

    Gates come first: sample ratio, support, effective sample size, largest weight. Where one is not passed,
    there is a reason and no number.

    Replay, DM, MIPS and the estimators with thresholds have a bias that their standard error does not know. Their
    intervals reach further by a bound on it: the distance to the estimator without bias (SNIPS, IPS or DR) and
    1.96 standard errors of that distance. So they cover, and are never narrower than that estimator's by much.

    Parameters
    ----------
    policy
        An arm's code for each row, int64 of shape [n], or the probability of each arm, float64 of shape [n, A].
    log
        The log.
    q_hat
        The reward model's value of every arm, float64 of shape [n, A], learnt without the row's own reward.
        Without it, the estimators that need one are refused.
    estimators
        Which.
    groups
        The group of every arm, such as a code of (type, channel), int64 of shape [A]; without it MIPS is
        refused.
    reward_range
        The least and the largest reward that could be; with it there are empirical Bernstein intervals.
    rule
        How thresholds are chosen: ``mse``, or ``slope``, whose guarantee lets through a bias of several standard
        errors.
    n_resamples, seed
        Of the bootstrap over members; the seed also halves the members for the choice of thresholds.
    limits
        The gates.

    Raises
    ------
    UnknownName
        For an estimator that there is not.
    InvalidInput
        If an array has another shape or dtype, or the policy is none.
    """
    limits = limits or Limits()
    unknown = set(estimators) - set(ESTIMATORS)
    if unknown:
        raise UnknownName.of("estimators", f"must be among {list(ESTIMATORS)}", sorted(unknown)[0])
    target = probabilities(policy, log)
    nobody = np.zeros_like(target)
    nobody[:, log.control] = 1.0
    rows, rests = (arm_rows(each, log, q_hat, groups) for each in (target, nobody))
    support, control_support = support_of(target, log), support_of(nobody, log)
    reach = control_reach = None
    if groups is not None:
        reach, control_reach = (support_of_groups(each, log, groups) for each in (target, nobody))
    ratio = sample_ratio(log)
    unfair = (
        f"the arms do not come as often as their propensities say (p = {ratio:.1e})"
        if ratio < limits.sample_ratio
        else ""
    )
    values: dict[str, Estimate] = {}
    incremental: dict[str, Estimate] = {}
    terms: dict[str, Terms] = {}
    thresholds: dict[str, Thresholds] = {}
    for name in estimators:
        why = unfair or _needs(name, rows) or _gate(name, support, reach, limits)
        control_why = why or _needs(name, rests) or _gate(name, control_support, control_reach, limits)
        if why:
            values[name] = Estimate.refuse(why)
        else:
            terms[name] = _terms(name, rows, log.member_keys, rule, seed, thresholds)
        if control_why:
            text = control_why if why else f"sending nothing: {control_why}"
            incremental[name] = Estimate.refuse(text)
        else:
            control = _terms(name, rests, log.member_keys, rule, seed, {})
            terms[f"incremental {name}"] = less(terms[name], control)
    found = estimates_of(terms, log.member_keys, n_resamples, seed)
    for name in estimators:
        for prefix, kept, against in (("", values, None), ("incremental ", incremental, rests)):
            if prefix + name not in found:
                continue
            kept[name] = found[prefix + name]
            if name in _UNBIASED and kept[name].value is not None:
                reference = PLAIN[_UNBIASED[name]](rows)
                if against is not None:
                    reference = less(reference, PLAIN[_UNBIASED[name]](against))
                kept[name] = _with_bias(kept[name], terms[prefix + name], reference, log.member_keys)
        if reward_range is not None and name in ("ips", "dr") and values[name].value is not None:
            interval = _bernstein(name, terms[name], target, log, rows, q_hat, reward_range)
            values[name] = replace(values[name], bernstein=interval)
    ordered = {name: values[name] for name in estimators}
    ordered_incremental = {name: incremental[name] for name in estimators}
    return PolicyEstimates(ordered, ordered_incremental, thresholds, support, control_support, ratio)


def _terms(
    name: str,
    rows: Rows,
    member_keys: NDArray[np.uint64],
    rule: Rule,
    seed: int,
    thresholds: dict[str, Thresholds],
) -> Terms:
    if name in PLAIN:
        return PLAIN[name](rows)
    candidates = threshold_candidates(rows.weight)
    if name == "dr_shrunk":
        # Its strength has the unit of a squared weight, and shrinks by half where w^2 is equal to it.
        candidates = (np.inf, *(100.0 * each * each for each in candidates[1:]), 1.0, 0.01)
    terms, chosen = chosen_terms(
        THRESHOLDED[name], rows, member_keys, candidates=candidates, rule=rule, seed=seed
    )
    thresholds[name] = chosen
    return terms


def _needs(name: str, rows: Rows) -> str:
    if name in _BY_MODEL and rows.dm is None:
        return "no reward model was given"
    if name == "mips" and rows.group_weight is None:
        return "no groups of arms were given"
    if name == "replay" and not rows.certain.all():
        return "the policy chooses at random, which replay cannot judge"
    return ""


def _gate(name: str, support: Support, reach: Support | None, limits: Limits) -> str:
    if name == "mips" and reach is not None:
        # A group may be reached through any of its arms.
        return reach.refusal(limits)
    if name == "dm":
        # No weights, so no limits to them; but what the log never did, its model does not know.
        return support.refusal(Limits(0.0, 1.0, 0))
    return support.refusal(limits)


def _with_bias(
    estimate: Estimate, terms: Terms, reference: Terms, member_keys: NDArray[np.uint64]
) -> Estimate:
    apart = less(terms, reference)
    doubt = clustered_error(apart.influence, member_keys)
    bound = abs(apart.value) + NormalDist().inv_cdf(0.5 + LEVEL / 2) * doubt

    def wider(ends: Interval | None) -> Interval | None:
        return None if ends is None else Interval(ends.low - bound, ends.high + bound)

    # The bound on the bias holds at one look only.
    return replace(estimate, normal=wider(estimate.normal), bootstrap=wider(estimate.bootstrap), anytime=None)


def _bernstein(
    name: str,
    terms: Terms,
    target: F64,
    log: Logged,
    rows: Rows,
    q_hat: F64 | None,
    reward_range: tuple[float, float],
) -> Interval:
    low, high = reward_range
    outside = (log.reward < low) | (log.reward > high)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        rule = f"must be in reward_range [{low:g}, {high:g}]"
        raise InvalidInput.of(f"y:{log.reward_name}", rule, float(log.reward[row]), f"at row {row}")
    # What any row's term could have been, had any arm been given and any reward come: over all rows.
    possible = log.propensity > 0
    largest = float((target[possible] / log.propensity[possible]).max())
    least, most = min(0.0, low), max(0.0, high)
    base_low = base_high = 0.0
    if name == "dr" and q_hat is not None and rows.dm is not None:
        base_low, base_high = float(rows.dm.min()), float(rows.dm.max())
        least, most = min(0.0, low - float(q_hat.max())), max(0.0, high - float(q_hat.min()))
    # By members: their sums are independent, and none has more rows than the one with the most.
    sums = member_sums(terms.parts[0][0], log.member_keys)
    most_rows = float(member_sums(np.ones(log.n_rows), log.member_keys).max())
    low_end, high_end = base_low + largest * least, base_high + largest * most
    if most_rows > 1:
        low_end, high_end = min(0.0, most_rows * low_end), max(0.0, most_rows * high_end)
    share = len(sums) / log.n_rows
    return empirical_bernstein(sums * share, low_end * share, high_end * share)
