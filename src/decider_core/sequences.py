"""Inference that stays valid however often one looks: confidence sequences, and tests of counts against shares."""

from __future__ import annotations

import math
from typing import Final, TypeVar

import numpy as np

from decider_core.compile import F64, kernel
from decider_core.contracts import ContractError, check_array, check_finite, check_number

LEVEL: Final = 0.95
TUNED_FOR: Final = 10_000

Number = TypeVar("Number", float, F64)


def sequence_half_width(
    standard_error: Number, n_members: int, tuned_for: int = TUNED_FOR, level: float = LEVEL
) -> Number:
    """Half the width of an asymptotic confidence sequence after some number of members.

    With t members, sigma^2 = t standard_error^2 and alpha = 1 - level, Robbins' normal mixture::

        sigma sqrt( 2 (t rho^2 + 1) / (t^2 rho^2) * log( sqrt(t rho^2 + 1) / alpha ) )

    The intervals around the running estimates, all of them together, cover with probability `level` as the
    first look comes late. rho is set for the number of members at which they are to be narrowest.

    Parameters
    ----------
    standard_error
        Of the estimate, or of several.
    n_members
        t, >= 1.
    tuned_for
        Where the sequence is about as narrow as it can be. To be fixed before the data are seen.
    level
        The coverage.

    References
    ----------
    .. [1] Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic
           confidence sequences", 2021, theorem 2.2 and equation 57.
    """
    alpha = 1.0 - level
    information = n_members * _rho_squared(alpha, tuned_for)
    spread = information + 1.0
    return standard_error * math.sqrt(2.0 * spread / information * math.log(math.sqrt(spread) / alpha))


def sequence_p_value(z: float, n_members: int, tuned_for: int = TUNED_FOR, level: float = LEVEL) -> float:
    """The p-value that belongs to :func:`sequence_half_width`: at most alpha if and only if 0 is outside.

    The mixture's likelihood ratio against "no effect" is, with ``i = t rho^2``::

        E = (1 + i)^(-1/2) exp( i z^2 / (2 (1 + i)) ),      p = min(1, 1 / E)

    Parameters
    ----------
    z
        The estimate over its standard error.
    n_members, tuned_for, level
        As of the sequence: rho depends on them and not on z.
    """
    information = n_members * _rho_squared(1.0 - level, tuned_for)
    log_e = information * z * z / (2.0 * (1.0 + information)) - 0.5 * math.log1p(information)
    return math.exp(min(0.0, -log_e))


def share_evidence(counts: F64, shares: F64, concentration: float) -> F64:
    """Return the logarithm of the evidence that counts do not follow their shares, look by look.

    Each look's counts x are held against the shares s by a Dirichlet alternative that the looks before it
    have moved, ``a = (k + N) q`` with ``q_i`` in proportion to ``s_i (n_i + k s_i) / (e_i + k s_i)``, n the
    counts so far, e those expected of them, N their sum::

        log E += log( Gamma(A) / Gamma(A + n) * prod_i Gamma(a_i + x_i) / Gamma(a_i) ) - sum_i x_i log s_i

    While the counts do follow their shares, ``E >= 1/alpha`` ever happens with probability alpha at most.

    Parameters
    ----------
    counts : f64[n_looks, n_cells]
        What came in since the look before, whole numbers.
    shares : f64[n_looks, n_cells]
        The probability of each cell at this look, given what came before; rows sum to 1. Where all are the same, E
        is the Bayes factor of [1]_, whatever the looks.
    concentration
        k > 0. About ``1 / k`` is the variance, relative to ``s (1 - s)``, of the shares that one looks for.

    Returns
    -------
    f64[n_looks]
        Infinite from the first member on whose cell had no share.

    Notes
    -----
    Counts that are drawn without replacement (who of those sent a message got it, given how many did) give no larger
    evidence: the ratio is convex in the counts [2]_.

    References
    ----------
    .. [1] Lindon, Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022, equation 7.
    .. [2] Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 58, 1963, theorem 4.
    """
    counts = check_array("counts", counts, np.float64, (None, None))
    shares = check_array("shares", shares, np.float64, counts.shape)
    check_finite("counts", counts)
    check_number("concentration", concentration, np.nextafter(0.0, 1.0))
    if (counts < 0).any() or (counts != np.floor(counts)).any():
        raise ContractError("counts must be whole numbers >= 0, got others")
    if (shares < 0).any() or (np.abs(shares.sum(axis=1) - 1.0) > 1e-9).any():
        raise ContractError("shares must be >= 0 and sum to 1 at every look, got others")
    evidence = np.empty(len(counts))
    _share_evidence(counts, shares, float(concentration), evidence)
    return evidence


def _rho_squared(alpha: float, tuned_for: int) -> float:
    # The first terms of the exact optimum, which holds a Lambert function [1, equation 57].
    return (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha)) + 1.0) / tuned_for


@kernel
def _share_evidence(counts: F64, shares: F64, concentration: float, evidence: F64) -> None:
    n_looks, n_cells = counts.shape
    seen, expected, prior = np.zeros(n_cells), np.zeros(n_cells), np.zeros(n_cells)
    total, log_e = 0.0, 0.0
    for t in range(n_looks):
        weight, here = 0.0, 0.0
        for c in range(n_cells):
            share = shares[t, c]
            prior[c] = 0.0
            if share > 0.0:
                prior[c] = share * (seen[c] + concentration * share) / (expected[c] + concentration * share)
            weight += prior[c]
            here += counts[t, c]
        mass = concentration + total
        log_e += math.lgamma(mass) - math.lgamma(mass + here)
        for c in range(n_cells):
            n, share = counts[t, c], shares[t, c]
            if share > 0.0:
                a = mass * prior[c] / weight
                log_e += math.lgamma(a + n) - math.lgamma(a) - n * math.log(share)
            elif n > 0.0:
                log_e = math.inf
            seen[c] += n
            expected[c] += here * share
        total += here
        evidence[t] = log_e
