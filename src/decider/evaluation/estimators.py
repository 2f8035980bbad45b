"""The estimators of a policy's value, each by its published formula.

For rows i with reward r, the probability pi that the policy takes the logged action, and its logged propensity
p, let ``w = pi / p``; q is the reward model's value of the logged action, and dm the policy's value under it.
All need true propensities and support: the log must be able to take whatever the policy takes. Those with a
reward model need one that did not see the row's own reward.

An action may be an arm or a whole message set with the propensity of the set: the formulas are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from decider.errors import InvalidInput
from decider.evaluation.rows import Rows, Terms


def replay(rows: Rows) -> Terms:
    """Mean reward of the rows where the policy's one choice was logged: ``sum(1{pi = 1} r) / sum(1{pi = 1})``.

    Without bias only if the log chose uniformly; else it weighs rows by how likely the log was to agree.

    Raises
    ------
    InvalidInput
        If the policy is random anywhere.

    References
    ----------
    .. [1] Li, Chu, Langford, Wang, "Unbiased offline evaluation of contextual-bandit-based news article
           recommendation algorithms", WSDM 2011, algorithm 2.
    """
    if not rows.certain.all():
        row = int(np.flatnonzero(~rows.certain)[0])
        rule = "must choose one action for sure, for replay"
        raise InvalidInput.of("policy", rule, "a chance", f"at row {row}")
    matched = (rows.target == 1.0).astype(np.float64)
    return Terms(((matched * rows.reward, matched),))


def ips(rows: Rows) -> Terms:
    """Inverse propensity score, ``sum(w r) / n``. No bias; noisy where weights or rewards are large.

    References
    ----------
    .. [1] Horvitz, Thompson, "A generalization of sampling without replacement from a finite universe",
           JASA 47, 1952.
    """
    return Terms(((rows.weighted_reward, None),))


def snips(rows: Rows) -> Terms:
    """Self-normalised IPS, ``sum(w r) / sum(w)``. Bias of order 1/n; stays within the rewards' range.

    References
    ----------
    .. [1] Swaminathan, Joachims, "The self-normalized estimator for counterfactual learning", NIPS 2015.
    """
    return Terms(((rows.weighted_reward, rows.weight),))


def clipped_ips(rows: Rows, largest: float) -> Terms:
    """IPS with weights cut off, ``sum(min(w, largest) r) / n``.

    Biased towards 0 by ``E[(w - largest)+ r]``; its noise is bounded.

    References
    ----------
    .. [1] Ionides, "Truncated importance sampling", JCGS 17, 2008.
    """
    return Terms(((np.minimum(rows.weight, largest) * rows.reward, None),))


def direct(rows: Rows) -> Terms:
    """Direct method (DM), ``sum(dm) / n``. As biased as the reward model; little noise.

    References
    ----------
    .. [1] Beygelzimer, Langford, "The offset tree for learning with partial labels", KDD 2009.
    """
    dm, _ = rows.model
    return Terms(((dm, None),))


def dr(rows: Rows) -> Terms:
    """Doubly robust, ``sum(dm + w (r - q)) / n``. No bias whatever q is; less noise the better q is.

    References
    ----------
    .. [1] Dudik, Langford, Li, "Doubly robust policy evaluation and learning", ICML 2011, equation 1.
    """
    dm, _ = rows.model
    return Terms(((dm + rows.weighted_residual, None),))


def sndr(rows: Rows) -> Terms:
    """Self-normalised DR, ``sum(dm) / n + sum(w (r - q)) / sum(w)``. Bias of order 1/n.

    References
    ----------
    .. [1] Thomas, Brunskill, "Data-efficient off-policy policy evaluation for reinforcement learning",
           ICML 2016, section 4, for one step.
    """
    dm, _ = rows.model
    return Terms(((dm, None), (rows.weighted_residual, rows.weight)))


def switch_dr(rows: Rows, largest: float) -> Terms:
    """DR that trusts the model alone where weights are large, ``sum(dm + w 1{w <= largest} (r - q)) / n``.

    Biased by the model's error where ``w > largest``: DM at 0, DR at infinity.

    References
    ----------
    .. [1] Wang, Agarwal, Dudik, "Optimal and adaptive off-policy evaluation in contextual bandits",
           ICML 2017, section 3.
    """
    dm, q = rows.model
    weight = np.where(rows.weight <= largest, rows.weight, 0.0)
    return Terms(((dm + weight * (rows.reward - q), None),))


def dr_shrunk(rows: Rows, strength: float) -> Terms:
    """DR with optimistic shrinkage (DRos), ``sum(dm + v (r - q)) / n`` with ``v = s w / (w^2 + s)``.

    s is the strength: DM at 0, DR at infinity; in between biased by the model's error where w is large.

    References
    ----------
    .. [1] Su, Dimakopoulou, Krishnamurthy, Dudik, "Doubly robust off-policy evaluation with shrinkage",
           ICML 2020, section 4.1.
    """
    dm, q = rows.model
    weight = rows.weight
    if np.isfinite(strength):
        weight = strength * weight / (np.square(weight) + strength) if strength > 0 else np.zeros_like(weight)
    return Terms(((dm + weight * (rows.reward - q), None),))


def mips(rows: Rows) -> Terms:
    """Marginalised IPS, ``sum(v r) / n``, v the ratio of the probabilities of the logged action's *group*.

    No bias if actions of one group (one type on one channel) have one effect on the reward; much less noise
    with many actions. The log must be able to reach every group that the policy reaches, not every action.

    References
    ----------
    .. [1] Saito, Joachims, "Off-policy evaluation for large action spaces via embeddings", ICML 2022.
    """
    if rows.group_weight is None:
        raise InvalidInput.of("groups", "must be given for MIPS", None)
    return Terms(((rows.group_weight * rows.reward, None),))


PLAIN: Final[Mapping[str, Callable[[Rows], Terms]]] = {
    "replay": replay,
    "ips": ips,
    "snips": snips,
    "dm": direct,
    "dr": dr,
    "sndr": sndr,
    "mips": mips,
}
"""Estimators without a threshold, by name."""
THRESHOLDED: Final[Mapping[str, Callable[[Rows, float], Terms]]] = {
    "clipped_ips": clipped_ips,
    "switch_dr": switch_dr,
    "dr_shrunk": dr_shrunk,
}
"""Estimators with one: their bias falls and their noise grows with it."""
ESTIMATORS: Final = (*PLAIN, *THRESHOLDED)
"""The names of all estimators."""
BY_MODEL: Final = ("dm", "dr", "sndr", "switch_dr", "dr_shrunk")
"""Those that need a reward model."""
UNBIASED: Final[Mapping[str, str]] = {
    "replay": "snips",
    "mips": "ips",
    "clipped_ips": "ips",
    "dm": "dr",
    "switch_dr": "dr",
    "dr_shrunk": "dr",
}
"""For an estimator with a bias that does not vanish, the one to which its distance bounds that bias."""
