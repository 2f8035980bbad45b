"""A policy against logged rows: what it would have done there, and how well the log covers that, in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.compile import F64, I64, kernel
from decider_core.contracts import ContractError, check_array


class Coverage(NamedTuple):
    """Sums and extremes over rows.

    Parameters
    ----------
    weight : f64[n]
        The policy's probability of the logged action over the log's.
    n_unsupported
        Rows where the policy may take an action that the log could never take.
    smallest
        The smallest logged probability of an action that the policy may take; infinite without rows.
    covered
        The policy's probability on actions that the log takes with a chance of `least` or more, added up.
    largest_ratio
        The largest probability of the policy over the log's, of any action that was possible.
    n_certain
        Rows where the policy takes one action for sure.
    """

    weight: F64
    n_unsupported: int
    smallest: float
    covered: float
    largest_ratio: float
    n_certain: int


def coverage(target: F64, propensity: F64, action: I64, least: float) -> Coverage:
    """Measure how a log covers a policy.

    Parameters
    ----------
    target, propensity : f64[n, n_actions]
        The policy's and the log's probability of every action.
    action : i64[n]
        The logged one, in [0, n_actions); its propensity is above 0.
    least
        See :class:`Coverage`.

    Raises
    ------
    ContractError
        If a dtype or shape is wrong, or an action out of range.
    """
    target = check_array("target", target, np.float64, (None, None))
    propensity = check_array("propensity", propensity, np.float64, target.shape)
    action = _check_actions(action, target)
    weight, found = np.empty(len(target)), np.array([0.0, np.inf, 0.0, 0.0, 0.0])
    _coverage(target, propensity, action, least, weight, found)
    n_unsupported, smallest, covered, largest_ratio, n_certain = found.tolist()
    return Coverage(weight, int(n_unsupported), smallest, covered, largest_ratio, int(n_certain))


def expected(chances: F64, values: F64) -> F64:
    """Return ``sum_a chances[i, a] values[i, a]`` of every row, f64[n]."""
    chances = check_array("chances", chances, np.float64, (None, None))
    values = check_array("values", values, np.float64, chances.shape)
    out = np.empty(len(chances))
    _expected(chances, values, out)
    return out


def of_action(values: F64, action: I64) -> F64:
    """Return ``values[i, action[i]]`` of every row, f64[n]."""
    values = check_array("values", values, np.float64, (None, None))
    action = _check_actions(action, values)
    out = np.empty(len(values))
    _of_action(values, action, out)
    return out


def given_over_chance(propensity: F64, action: I64) -> tuple[F64, F64]:
    """Return ``1{a given} / p_a`` and ``1{p_a > 0}`` of every action and row, and the former's variances.

    Parameters
    ----------
    propensity : f64[n, n_actions]
        The log's probability of every action.
    action : i64[n]
        The logged one; its propensity is above 0.

    Returns
    -------
    columns : f64[2 n_actions, n]
        Two for each action.
    variances : f64[n_actions]
        ``sum (1 - p) / p`` over the rows where the action was possible: what rows vary by if propensities are true.
    """
    propensity = check_array("propensity", propensity, np.float64, (None, None))
    action = _check_actions(action, propensity)
    n, n_actions = propensity.shape
    columns, variances = np.zeros((2 * n_actions, n)), np.zeros(n_actions)
    _given_over_chance(propensity, action, columns, variances)
    return columns, variances


def _check_actions(action: I64, values: F64) -> I64:
    action = check_array("action", action, np.int64, (len(values),))
    if action.size and not 0 <= action.min() <= action.max() < values.shape[1]:
        found = f"{action.min()} to {action.max()}"
        raise ContractError(f"action must be in [0, {values.shape[1]}), got {found}")
    return action


@kernel
def _coverage(target: F64, propensity: F64, action: I64, least: float, weight: F64, found: F64) -> None:
    n_unsupported, smallest, covered, largest_ratio, n_certain = 0, found[1], 0.0, 0.0, 0
    for i in range(action.size):
        unsupported = certain = False
        of_row = 0.0
        for a in range(target.shape[1]):
            chance, wanted = propensity[i, a], target[i, a]
            if wanted > 0.0:
                smallest = min(smallest, chance)
                unsupported = unsupported or chance == 0.0
                certain = certain or wanted == 1.0
                if chance >= least:
                    of_row += wanted
                if chance > 0.0:
                    largest_ratio = max(largest_ratio, wanted / chance)
        # Row by row, since those add up to 1 exactly or nearly so.
        covered += of_row
        n_unsupported += unsupported
        n_certain += certain
        weight[i] = target[i, action[i]] / propensity[i, action[i]]
    found[0], found[1], found[2], found[3], found[4] = (
        n_unsupported,
        smallest,
        covered,
        largest_ratio,
        n_certain,
    )


@kernel
def _expected(chances: F64, values: F64, out: F64) -> None:
    for i in range(out.size):
        total = 0.0
        for a in range(chances.shape[1]):
            total += chances[i, a] * values[i, a]
        out[i] = total


@kernel
def _of_action(values: F64, action: I64, out: F64) -> None:
    for i in range(out.size):
        out[i] = values[i, action[i]]


@kernel
def _given_over_chance(propensity: F64, action: I64, columns: F64, variances: F64) -> None:
    for i in range(action.size):
        for a in range(variances.size):
            chance = propensity[i, a]
            if chance > 0.0:
                columns[2 * a + 1, i] = 1.0
                variances[a] += (1.0 - chance) / chance
        columns[2 * action[i], i] = 1.0 / propensity[i, action[i]]
