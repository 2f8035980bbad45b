"""Effects of a message sent to the same members again and again: weighted, centred least squares.

In a micro-randomised trial each row is a moment of a member at which a message was sent with a known
probability. The effect is read from ::

    Y = g(x) + (A - p~) tau(x) + noise,   rows weighted by  p~ / p where sent, (1 - p~) / (1 - p) where not

in which the centred treatment has mean zero given everything before, so a wrong g does not bias tau [1]_.

References
----------
.. [1] Boruvka, Almirall, Witkiewitz, Murphy, "Assessing time-varying causal effect moderation in mobile
       health", JASA 113, 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.learning.clustered import sandwich


class PanelEffect(NamedTuple):
    """Coefficients of the effect.

    Parameters
    ----------
    mean
        float64 of shape [q].
    covariance
        Robust, rows of a member together; float64 of shape [q, q].
    n_rows, n_members
        What it was learnt from.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n_rows: int
    n_members: int

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """float64 of shape [q]."""
        return np.sqrt(np.diag(self.covariance))


def panel_effect(
    sent: NDArray[np.bool_],
    propensity: NDArray[np.float64],
    reward: NDArray[np.float64],
    member_keys: NDArray[np.uint64],
    baseline: NDArray[np.float64],
    moderators: NDArray[np.float64] | None = None,
    centre: NDArray[np.float64] | float | None = None,
) -> PanelEffect:
    """Learn the effect of a message and how it changes with moderators.

    Parameters
    ----------
    sent
        Whether it was sent, bool of shape [n].
    propensity
        Probability of sending at that moment, in (0, 1), float64 of shape [n].
    reward, member_keys
        float64 and uint64 of shape [n].
    baseline
        What goes into g, float64 of shape [n, b]; an intercept is added.
    moderators
        Columns that tau is linear in, such as ones and days, float64 of shape [n, q]; None for one constant
        effect.
    centre
        ``p~``, a probability that depends on moderators alone; None for the mean of the propensities.

    Raises
    ------
    InvalidInput
        If a probability is outside (0, 1), a value is not finite, or there are no more members than
        coefficients of the effect, or these cannot be told apart.

    Notes
    -----
    Rows at which the member could not be sent anything must be left out beforehand. The weights are one where
    all propensities equal the centre. Standard errors hold for many members; for a few dozen they are a few
    percent too small.
    """
    n = len(reward)
    moderators = np.ones((n, 1)) if moderators is None else moderators
    _check(sent, propensity, reward, member_keys, baseline, moderators)
    middle = np.broadcast_to(np.asarray(propensity.mean() if centre is None else centre, np.float64), (n,))
    if not ((middle > 0) & (middle < 1)).all():
        raise InvalidInput.of("centre", "must be in (0, 1)", float(middle[(middle <= 0) | (middle >= 1)][0]))
    weight = np.where(sent, middle / propensity, (1 - middle) / (1 - propensity))
    q = moderators.shape[1]
    x = np.concatenate([(sent - middle)[:, None] * moderators, np.ones((n, 1)), baseline], axis=1)
    weighted = x * weight[:, None]
    gram = weighted.T @ x
    scale = np.sqrt(np.diag(gram))
    if (scale[:q] == 0).any() or np.linalg.matrix_rank(gram[:q, :q] / np.outer(scale[:q], scale[:q])) < q:
        raise InvalidInput.of("moderators", "must be independent of one another", q)
    bread = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    mean = bread @ (weighted.T @ reward)
    scores = weighted * (reward - x @ mean)[:, None]
    covariance = sandwich(bread, scores, member_keys)
    return PanelEffect(mean[:q], covariance[:q, :q], n, len(np.unique(member_keys)))


def _check(
    sent: NDArray[np.bool_],
    propensity: NDArray[np.float64],
    reward: NDArray[np.float64],
    member_keys: NDArray[np.uint64],
    baseline: NDArray[np.float64],
    moderators: NDArray[np.float64],
) -> None:
    n = len(reward)
    broken = []
    for name, array, dimensions in (
        ("sent", sent, 1),
        ("propensity", propensity, 1),
        ("member_keys", member_keys, 1),
        ("baseline", baseline, 2),
        ("moderators", moderators, 2),
    ):
        if array.ndim != dimensions or len(array) != n:
            broken.append(
                Violation(name, f"must have {n} rows and {dimensions} axes, got shape {array.shape}")
            )
    if broken:
        raise InvalidInput(broken)
    for name, values in (("reward", reward[:, None]), ("baseline", baseline), ("moderators", moderators)):
        wrong = ~np.isfinite(values).all(axis=1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            broken.append(Violation(name, f"must be finite, got {values[row].tolist()} at row {row}"))
    wrong = ~((propensity > 0) & (propensity < 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        broken.append(Violation("propensity", f"must be in (0, 1), got {propensity[row]} at row {row}"))
    n_members = len(np.unique(member_keys))
    if n_members <= moderators.shape[1] + 1:
        rule = f"must be more than {moderators.shape[1] + 1}"
        broken.append(Violation("members", f"{rule}, got {n_members}"))
    if broken:
        raise InvalidInput(broken)
