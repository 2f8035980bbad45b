"""From 32 random bits to a standard normal number: branch-free in float32, so that it vectorises.

References
----------
.. [1] Giles, "Approximating the erfinv function", GPU Computing Gems, 2011.
.. [2] Moshier, Cephes library, ``logf``.
"""

from __future__ import annotations

import numpy as np

from decider_core.compile import as_f32, as_i32, fma, inline


@inline
def normal_of_bits(bits: np.int32) -> np.float32:
    """Return the normal number of these bits: q from the low 31, the sign from the highest.

    ``|z| = sqrt(2) erfinv(x)`` with ``x = 1 - q`` uniform over the midpoints of 2^31 cells of (0, 1).
    """
    q = fma(np.float32(bits & np.int32(0x7FFFFFFF)), np.float32(2.0**-31), np.float32(2.0**-32))
    # z = x * polynomial(w), w = -log(1 - x^2), 1 - x^2 = q (2 - q) [1]_: two polynomials that meet at w =
    # 5, both minimax fits of the absolute error. Giles' coefficients end at w = 16, where x rounds to 1
    # in float32; q goes on to w = 21.5, where they would be wrong by 2e-3.
    w = max(-_log(q * (np.float32(2.0) - q)), np.float32(0.0))
    t = w - np.float32(2.5)
    near = np.float32(4.99137684e-07)
    near = fma(near, t, np.float32(-4.52226595e-06))
    near = fma(near, t, np.float32(-6.32448746e-06))
    near = fma(near, t, np.float32(0.000307469221))
    near = fma(near, t, np.float32(-0.00177278672))
    near = fma(near, t, np.float32(-0.00590626942))
    near = fma(near, t, np.float32(0.348802567))
    near = fma(near, t, np.float32(2.12331319))
    t = np.sqrt(w) - np.float32(3.5)
    far = np.float32(-3.08037925e-05)
    far = fma(far, t, np.float32(3.42321e-05))
    far = fma(far, t, np.float32(0.000131390247))
    far = fma(far, t, np.float32(-0.000370845519))
    far = fma(far, t, np.float32(0.000591341406))
    far = fma(far, t, np.float32(-0.000931626535))
    far = fma(far, t, np.float32(0.0015534109))
    far = fma(far, t, np.float32(-0.00292482995))
    far = fma(far, t, np.float32(0.00463319756))
    far = fma(far, t, np.float32(1.42463505))
    far = fma(far, t, np.float32(4.71708918))
    magnitude = (np.float32(1.0) - q) * (near if w < np.float32(5.0) else far)
    return as_f32(as_i32(magnitude) ^ (bits & np.int32(-0x80000000)))


@inline
def _log(number: np.float32) -> np.float32:
    # number = 2^e * (1 + m), 1 + m in [sqrt(1/2), sqrt(2)): its log is
    #     e log 2 + m - m^2/2 + m^3 polynomial(m)                                   [2]_
    # with log 2 split in two, so that e * 0.693359375 is exact.
    bits = as_i32(number)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = as_f32(bits - (exponent << np.int32(23))) - np.float32(1.0)
    p = np.float32(7.0376836292e-2)
    p = fma(p, m, np.float32(-1.1514610310e-1))
    p = fma(p, m, np.float32(1.1676998740e-1))
    p = fma(p, m, np.float32(-1.2420140846e-1))
    p = fma(p, m, np.float32(1.4249322787e-1))
    p = fma(p, m, np.float32(-1.6668057665e-1))
    p = fma(p, m, np.float32(2.0000714765e-1))
    p = fma(p, m, np.float32(-2.4999993993e-1))
    p = fma(p, m, np.float32(3.3333331174e-1))
    square = m * m
    e = np.float32(exponent)
    small = fma(e, np.float32(-2.12194440e-4), p * m * square)
    small = fma(square, np.float32(-0.5), small)
    return fma(e, np.float32(0.693359375), m + small)
