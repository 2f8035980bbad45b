"""Tails of the normal distribution, straight on: no branch, so that a loop over numbers vectorises.

``erfc(z) = u exp(p(u) - z^2)`` with ``u = 2/(2 + z)``, z >= 0, where p is smooth: a polynomial of degree 16 gives it
within 2e-13 for z up to 6.5 [1]_. It was fitted at Chebyshev nodes in 40 digits.

References
----------
.. [1] Press, Teukolsky, Vetterling, Flannery, "Numerical Recipes", 3rd edition, section 6.2.2: the form, with other
       coefficients.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from decider_core.compile import as_f64, as_i64, fma64, inline

_FARTHEST: Final = 6.5
"""Of z; 9.19 standard deviations. Farther out the tail, 2e-20, is taken to be that."""
_SCALE: Final = 2.0 / (1.0 - 2.0 / (2.0 + _FARTHEST))
_ROOT_HALF: Final = math.sqrt(0.5)

# exp: 2^k times a polynomial in what is left, |left| <= ln 2 / 2, whose error is below 1e-14.
_ROUNDS: Final = 1.5 * 2.0**52
"""Added to a number it leaves the nearest integer in the low bits."""
_PER_OCTAVE: Final = 1.0 / math.log(2.0)
_OCTAVE_HIGH: Final = 0.693147180369123816490
_OCTAVE_LOW: Final = 1.90821492927058770002e-10
"""Together ln 2; the first has 32 bits, so that its multiples are exact."""


@inline
def exp_below_1(y: float) -> float:
    """Return exp(y) for y in [-700, 1], within 1e-14 of itself."""
    shifted = y * _PER_OCTAVE + _ROUNDS
    k = shifted - _ROUNDS
    left = (y - k * _OCTAVE_HIGH) - k * _OCTAVE_LOW
    # Every power by itself: a loop over them would keep the loop over numbers from becoming one over vectors.
    total = fma64(left, (1.0 / 479001600.0), (1.0 / 39916800.0))
    total = fma64(total, left, (1.0 / 3628800.0))
    total = fma64(total, left, (1.0 / 362880.0))
    total = fma64(total, left, (1.0 / 40320.0))
    total = fma64(total, left, (1.0 / 5040.0))
    total = fma64(total, left, (1.0 / 720.0))
    total = fma64(total, left, (1.0 / 120.0))
    total = fma64(total, left, (1.0 / 24.0))
    total = fma64(total, left, (1.0 / 6.0))
    total = fma64(total, left, (1.0 / 2.0))
    total = fma64(total, left, 1.0)
    total = fma64(total, left, 1.0)
    return total * as_f64((as_i64(shifted) + np.int64(1023)) << np.int64(52))


@inline
def half_tail(x: float) -> float:
    """Return P(Z > |x|) of a standard normal Z, within 3e-13 of itself for ``|x| <= 9.19``."""
    z = min(abs(x) * _ROOT_HALF, _FARTHEST)
    u = 2.0 / (2.0 + z)
    v = (u - 1.0) * _SCALE + 1.0
    p = fma64(v, -7.8242470889452841e-09, 9.7546975618637165e-08)
    p = fma64(p, v, -9.9219120785184145e-08)
    p = fma64(p, v, -7.9401544483984498e-07)
    p = fma64(p, v, 2.0458971283135207e-06)
    p = fma64(p, v, 2.1018148298695452e-06)
    p = fma64(p, v, -1.7050819118594399e-05)
    p = fma64(p, v, 1.4016999814797381e-05)
    p = fma64(p, v, 9.3032833367819848e-05)
    p = fma64(p, v, -0.00023782539367886679)
    p = fma64(p, v, -0.00033998389549959351)
    p = fma64(p, v, 0.0022766573094720275)
    p = fma64(p, v, 0.00031642882559938308)
    p = fma64(p, v, -0.022847437677424757)
    p = fma64(p, v, 0.007108623056647465)
    p = fma64(p, v, 0.52516878671403022)
    p = fma64(p, v, -0.51153859215318498)
    return 0.5 * u * exp_below_1(p - z * z)
