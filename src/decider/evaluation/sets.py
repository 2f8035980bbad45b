"""Policies that send message sets, from a log of sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.evaluation.rows import Rows, Terms

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LoggedSets:
    """Logged rows, each of one member to whom one message set was sent by a known chance.

    Parameters
    ----------
    reward
        float64 of shape [n], finite.
    propensity
        Probability of the whole set, whatever its order: float64 of shape [n], in (0, 1]. For explore sets
        that is what :func:`decider_core.explore.explore_propensity` gives.
    empty
        Whether nothing was sent, bool of shape [n].
    member_keys
        uint64 of shape [n].

    Raises
    ------
    InvalidInput
        For every rule that is broken, with the first row that breaks it.
    """

    reward: F64
    propensity: F64
    empty: NDArray[np.bool_]
    member_keys: NDArray[np.uint64]

    def __post_init__(self) -> None:
        n = len(self.reward)
        wanted = (
            ("reward", self.reward, np.float64),
            ("propensity", self.propensity, np.float64),
            ("empty", self.empty, np.bool_),
            ("member_keys", self.member_keys, np.uint64),
        )
        broken = [
            Violation(name, f"must be {np.dtype(dtype)} of shape ({n},), got {a.dtype} of shape {a.shape}")
            for name, a, dtype in wanted
            if a.dtype != dtype or a.shape != (n,)
        ]
        if not broken and n == 0:
            broken.append(Violation("reward", "must hold at least one row, got none"))
        if not broken:
            broken += _first_wrong("reward", "must be finite", self.reward, np.isfinite(self.reward))
            inside = (self.propensity > 0) & (self.propensity <= 1)
            broken += _first_wrong("propensity", "must be in (0, 1]", self.propensity, inside)
        if broken:
            raise InvalidInput(broken)


def set_rows(target: F64, log: LoggedSets, dm: F64 | None = None, q_logged: F64 | None = None) -> Rows:
    """Set a policy that sends sets against a log of sets.

    The estimators of :mod:`decider.evaluation.estimators` on these rows are the exact set forms, with the
    propensity of the whole set in every weight.

    Parameters
    ----------
    target
        Probability with which the policy sends the logged set, float64 of shape [n].
    log
        The log.
    dm
        The policy's value under the reward model, a sum over all sets it may send: float64 of shape [n].
    q_logged
        The reward model's value of the logged set, float64 of shape [n].

    Raises
    ------
    InvalidInput
        If an array has another dtype or shape, or holds a value out of range.
    """
    n = len(log.reward)
    _check("target", target, n)
    broken = _first_wrong("target", "must be in [0, 1]", target, (target >= 0) & (target <= 1))
    if (dm is None) != (q_logged is None):
        broken.append(Violation("q_logged", "must be given if and only if dm is"))
    for name, array in (("dm", dm), ("q_logged", q_logged)):
        if array is not None:
            _check(name, array, n)
            broken += _first_wrong(name, "must be finite", array, np.isfinite(array))
    if broken:
        raise InvalidInput(broken)
    # Whether a policy is sure of one set cannot be told from the logged sets alone: no replay.
    return Rows(log.reward, log.propensity, target, np.zeros(n, np.bool_), dm, q_logged)


def nothing_sent(log: LoggedSets, q_nothing: F64 | None = None, q_logged: F64 | None = None) -> Rows:
    """Never messaging, against a log of sets; `q_nothing` is the reward model's value of the empty set."""
    return set_rows(log.empty.astype(np.float64), log, q_nothing, q_logged)


def pseudo_inverse(slot_target: F64, slot_propensity: F64, log: LoggedSets) -> Terms:
    """The pseudo-inverse estimator in its product form, ``sum(r (1 - L + sum_l pi_l / p_l)) / n``.

    For sets that fill L slots (such as one for each channel, "nothing" being a choice), each drawn by itself:
    pi_l and p_l are the probabilities of what stands in slot l under the policy and the log. Without bias if
    the reward is a sum over slots, with far less noise than the weight of the whole set.

    Parameters
    ----------
    slot_target
        float64 of shape [n, L], in [0, 1].
    slot_propensity
        float64 of shape [n, L], in (0, 1].
    log
        The log. Each propensity must be the product of its slots': drawing messages one after another without
        replacement, as explore sets are drawn, makes slots depend on one another, and is refused.

    Raises
    ------
    InvalidInput
        If the product form does not hold, a shape differs, or a value is out of range.

    References
    ----------
    .. [1] Swaminathan, Krishnamurthy, Agarwal, Dudik, Langford, Jose, Zitouni, "Off-policy evaluation for slate
           recommendation", NIPS 2017, section 3 and appendix A (product distributions).
    """
    n = len(log.reward)
    for name, array in (("slot_target", slot_target), ("slot_propensity", slot_propensity)):
        if array.dtype != np.float64 or array.ndim != 2 or array.shape != (n, slot_target.shape[1]):
            found = f"{array.dtype} of shape {array.shape}"
            raise InvalidInput.of(name, f"must be float64 of shape ({n}, slots), the same for both", found)
    broken = _first_wrong(
        "slot_target",
        "must be in [0, 1]",
        slot_target,
        _in_every_slot((slot_target >= 0) & (slot_target <= 1)),
    )
    inside = _in_every_slot((slot_propensity > 0) & (slot_propensity <= 1))
    broken += _first_wrong("slot_propensity", "must be in (0, 1]", slot_propensity, inside)
    if not broken:
        product = slot_propensity.prod(axis=1)
        apart = np.abs(product / log.propensity - 1) > 1e-6
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            rule = (
                f"must be the product of its slots' {product[row]}: slots that depend on one another, as when "
                "drawn without replacement, have no pseudo-inverse in product form"
            )
            raise InvalidInput.of("propensity", rule, float(log.propensity[row]), f"at row {row}")
    if broken:
        raise InvalidInput(broken)
    weight = 1.0 - slot_target.shape[1] + (slot_target / slot_propensity).sum(axis=1)
    return Terms(((weight * log.reward, None),))


def _check(name: str, array: F64, n: int) -> None:
    if array.dtype != np.float64 or array.shape != (n,):
        raise InvalidInput.of(
            name, f"must be float64 of shape ({n},)", f"{array.dtype} of shape {array.shape}"
        )


def _in_every_slot(good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    every: NDArray[np.bool_] = np.asarray(good.all(axis=1))
    return every


def _first_wrong(
    name: str, rule: str, values: NDArray[np.generic], good: NDArray[np.bool_]
) -> list[Violation]:
    if good.all():
        return []
    row = int(np.flatnonzero(~good)[0])
    return [Violation(name, f"{rule}, got {values[row]} at row {row}")]
