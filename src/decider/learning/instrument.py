"""Instrumental variables: what being delivered or opened does, when only the sending was random.

Who opens a message differs from who does not, so a comparison of them is no effect. The send Z was drawn at
random; it moves the reward Y only through the exposure D it leads to. Then the effect of the send on Y over its
effect on D is the mean effect of D on the members whom the send exposes, the compliers [1]_.

References
----------
.. [1] Imbens, Angrist, "Identification and estimation of local average treatment effects", Econometrica 62,
       1994.
.. [2] Anderson, Rubin, "Estimation of the parameters of a single equation in a complete system of stochastic
       equations", Annals of Mathematical Statistics 20, 1949.
.. [3] Staiger, Stock, "Instrumental variables regression with weak instruments", Econometrica 65, 1997.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.learning.clustered import sandwich

WEAK_F: Final = 10.0
"""A first-stage F below this gives no estimate, only the Anderson-Rubin set [3]_."""

_Z95: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class ComplierEffect:
    """The effect of exposure on those whom the send exposes.

    Parameters
    ----------
    value, standard_error
        Two-stage least squares, robust; None if the instrument is weak.
    first_stage
        Effect of the send on exposure: the share of compliers, where none defies.
    first_stage_f
        Robust F of the first stage.
    anderson_rubin
        Intervals whose union holds the effect with 95 % whatever the instrument's strength; ends may be
        infinite.
    n_rows, n_members
        What it was learnt from.
    refused
        Why there is no value; "" if there is one.
    """

    value: float | None
    standard_error: float | None
    first_stage: float
    first_stage_f: float
    anderson_rubin: tuple[tuple[float, float], ...]
    n_rows: int
    n_members: int
    refused: str = ""

    def in_words(self, exposure: str = "exposed", reward: str = "the reward") -> str:
        """Say what the numbers mean, and for whom."""
        share = (
            f"{self.first_stage:.1%} of members are {exposure} because of the send and would not be otherwise"
        )
        if self.value is None:
            return f"{share}. Being {exposure} has no estimate: {self.refused}."
        return (
            f"{share}. For them, and for no others, being {exposure} changes {reward} by {self.value:+.4g} on "
            f"average (standard error {self.standard_error:.2g})."
        )


def wald(reward: NDArray[np.float64], exposed: NDArray[np.float64], sent: NDArray[np.float64]) -> float:
    """Return the difference in reward over the difference in exposure between sent and not sent.

    Raises
    ------
    InvalidInput
        If one group is empty, or exposure is the same in both.
    """
    given = sent > 0.5
    if given.all() or not given.any():
        raise InvalidInput.of("sent", "must vary", float(sent[0]), f"in all {len(sent)} rows")
    moved = float(exposed[given].mean() - exposed[~given].mean())
    if moved == 0:
        raise InvalidInput.of("exposed", "must differ between sent and not sent", moved)
    return float(reward[given].mean() - reward[~given].mean()) / moved


def two_stage(
    reward: NDArray[np.float64],
    exposed: NDArray[np.float64],
    instrument: NDArray[np.float64],
    covariates: NDArray[np.float64] | None = None,
    member_keys: NDArray[np.uint64] | None = None,
    *,
    weak_f: float = WEAK_F,
) -> ComplierEffect:
    """Estimate a complier effect by two-stage least squares with robust errors.

    Parameters
    ----------
    reward, exposed
        float64 of shape [n].
    instrument
        The random send, float64 of shape [n]. Where its probability depends on x, hand in ``Z - p(x)``.
    covariates
        Controls of both stages, float64 of shape [n, k]; an intercept is added.
    member_keys
        uint64 of shape [n] where members have several rows; errors are then clustered.
    weak_f
        The least first-stage F that gives a value.

    Raises
    ------
    InvalidInput
        If a value is not finite, a shape does not fit, or the instrument does not vary beyond the covariates.

    Notes
    -----
    Controls are partialled out first (Frisch, Waugh, Lovell); with one instrument the estimate is then the
    ratio of two covariances. The Anderson-Rubin set holds all b for which the instrument does not tell
    ``Y - b D``: a quadratic inequality in b.
    """
    n = len(reward)
    _check(reward, exposed, instrument, covariates, member_keys)
    controls = (
        np.ones((n, 1)) if covariates is None else np.concatenate([np.ones((n, 1)), covariates], axis=1)
    )
    y, d, z = (_residual(column, controls) for column in (reward, exposed, instrument))
    total = float(z @ z)
    if total <= 1e-12 * float(instrument @ instrument):
        raise InvalidInput.of("instrument", "must vary beyond the covariates", float(instrument[0]))
    n_members = n if member_keys is None else len(np.unique(member_keys))
    first = float(z @ d) / total
    bread = np.array([[1.0 / total]])
    first_variance = float(sandwich(bread, (z * (d - first * z))[:, None], member_keys)[0, 0])
    strength = first**2 / first_variance if first_variance > 0 else float("inf")
    region = _anderson_rubin(y, d, z, member_keys)
    if strength < weak_f:
        why = f"the first stage's F must be at least {weak_f:g}, got {strength:.2f}"
        return ComplierEffect(None, None, first, strength, region, n, n_members, why)
    effect = float(z @ y) / float(z @ d)
    slope = np.array([[1.0 / float(z @ d)]])
    variance = float(sandwich(slope, (z * (y - effect * d))[:, None], member_keys)[0, 0])
    return ComplierEffect(effect, float(np.sqrt(variance)), first, strength, region, n, n_members)


def _anderson_rubin(
    y: NDArray[np.float64],
    d: NDArray[np.float64],
    z: NDArray[np.float64],
    member_keys: NDArray[np.uint64] | None,
) -> tuple[tuple[float, float], ...]:
    """All b with ``(sum z (y - b d))^2 <= c var(b)``, the variance of that sum being quadratic in b.

    The scores are those under the hypothesis that z does not tell ``y - b d``.
    """
    scores = np.stack([z * y, z * d], axis=1)
    v = sandwich(np.eye(2), scores - _mean_part(scores, z, y, d), member_keys)
    zy, zd = float(z @ y), float(z @ d)
    c = _Z95**2
    # (zd^2 - c v_dd) b^2 - 2 (zy zd - c v_yd) b + (zy^2 - c v_yy) <= 0
    a2, a1, a0 = zd**2 - c * v[1, 1], zy * zd - c * v[0, 1], zy**2 - c * v[0, 0]
    inside = a1**2 - a2 * a0
    if a2 > 0:
        # At the estimate the left side is zero: there is always a root.
        root = np.sqrt(max(inside, 0.0))
        return ((float((a1 - root) / a2), float((a1 + root) / a2)),)
    if inside <= 0 or a2 == 0:
        return ((float("-inf"), float("inf")),)
    ends = sorted(((a1 - np.sqrt(inside)) / a2, (a1 + np.sqrt(inside)) / a2))
    return ((float("-inf"), float(ends[0])), (float(ends[1]), float("inf")))


def _mean_part(
    scores: NDArray[np.float64], z: NDArray[np.float64], y: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What z tells of each score, so that the variance is that of the residuals of both regressions on z."""
    total = float(z @ z)
    return np.stack([z * z * (float(z @ y) / total), z * z * (float(z @ d) / total)], axis=1)


def _residual(column: NDArray[np.float64], controls: NDArray[np.float64]) -> NDArray[np.float64]:
    return column - controls @ np.linalg.lstsq(controls, column, rcond=None)[0]


def _check(
    reward: NDArray[np.float64],
    exposed: NDArray[np.float64],
    instrument: NDArray[np.float64],
    covariates: NDArray[np.float64] | None,
    member_keys: NDArray[np.uint64] | None,
) -> None:
    n = len(reward)
    broken = []
    columns = {"reward": reward, "exposed": exposed, "instrument": instrument}
    for name, column in columns.items():
        if column.shape != (n,):
            broken.append(Violation(name, f"must have shape ({n},), got {column.shape}"))
        elif not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            broken.append(Violation(name, f"must be finite, got {column[row]} at row {row}"))
    if covariates is not None and (covariates.ndim != 2 or len(covariates) != n):
        broken.append(Violation("covariates", f"must have {n} rows and two axes, got {covariates.shape}"))
    elif covariates is not None and not np.isfinite(covariates).all():
        row = int(np.argwhere(~np.isfinite(covariates))[0][0])
        broken.append(Violation("covariates", f"must be finite, got {covariates[row].tolist()} at row {row}"))
    if member_keys is not None and member_keys.shape != (n,):
        broken.append(Violation("member_keys", f"must have shape ({n},), got {member_keys.shape}"))
    if n < 30:
        broken.append(Violation("reward", f"must have at least 30 rows, got {n}"))
    if broken:
        raise InvalidInput(broken)
