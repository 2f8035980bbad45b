"""From 32 random bits to a standard normal number: one short polynomial, so that it vectorises.

Of a positive float the exponent tells the octave it lies in. In each octave the inverse normal is smooth enough for
a polynomial of degree 6 in the mantissa, whose coefficients are looked up by the exponent: 32 of them fill two
vectors, and a lookup is one instruction of AVX-512.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from decider_core import vectors
from decider_core.compile import F32, as_f32, as_i32, fma, inline
from decider_core.vectors import Value

_N_OCTAVES: Final = 32
_LARGEST: Final = 0x7FFFFF7F
"""31 bits beyond it would round to q = 1, an octave of its own."""
_SIGN: Final = -0x80000000

# Octave by octave, from q in [1/2, 1) down to [2^-32, 2^-31): powers of m - 1.5, from the lowest on, for q =
# 2^-(octave + 1) m. Minimax fits of the absolute error, 5.4e-7 at most: benchmarks/fit_inverse_normal.py.
_FITTED: Final = """
3.1863922e-01 -6.592981e-01 6.926522e-02 -5.7235386e-02 1.8848956e-02 -1.4107305e-02 7.1227187e-03
8.871464e-01 -4.644159e-01 9.568204e-02 -4.276947e-02 1.9931944e-02 -1.200621e-02 6.8413136e-03
1.3180108e+00 -3.7341744e-01 9.190115e-02 -3.8642604e-02 1.8400999e-02 -1.1074689e-02 6.323477e-03
1.6759396e+00 -3.190543e-01 8.531148e-02 -3.56486e-02 1.706159e-02 -1.0304143e-02 5.915303e-03
1.9874278e+00 -2.822415e-01 7.91667e-02 -3.318692e-02 1.5956163e-02 -9.660703e-03 5.536903e-03
2.2662268e+00 -2.5533432e-01 7.3880464e-02 -3.1118976e-02 1.5012654e-02 -9.111868e-03 5.227478e-03
2.520502e+00 -2.3462802e-01 6.938505e-02 -2.9357634e-02 1.419181e-02 -8.644826e-03 4.985659e-03
2.7555487e+00 -2.1809103e-01 6.5540254e-02 -2.7846528e-02 1.3488556e-02 -8.225243e-03 4.7601047e-03
2.9750206e+00 -2.0451002e-01 6.2220585e-02 -2.6524365e-02 1.2882668e-02 -7.878479e-03 4.5462623e-03
3.1815596e+00 -1.9310923e-01 5.9327573e-02 -2.5369123e-02 1.2346816e-02 -7.553914e-03 4.3571093e-03
3.3771458e+00 -1.8336973e-01 5.678456e-02 -2.434605e-02 1.1855436e-02 -7.262271e-03 4.2146053e-03
3.5633078e+00 -1.7492907e-01 5.452281e-02 -2.3431774e-02 1.1443184e-02 -7.000779e-03 4.034006e-03
3.7412524e+00 -1.6752614e-01 5.2504104e-02 -2.2603663e-02 1.1044568e-02 -6.7802914e-03 3.9200988e-03
3.911953e+00 -1.6096629e-01 5.068409e-02 -2.1858746e-02 1.0693518e-02 -6.565831e-03 3.7951902e-03
4.076206e+00 -1.551013e-01 4.904006e-02 -2.1201435e-02 1.0341984e-02 -6.3100657e-03 3.7351898e-03
4.2346754e+00 -1.4982156e-01 4.7535412e-02 -2.0570226e-02 1.0053655e-02 -6.1597554e-03 3.6203654e-03
4.387918e+00 -1.4503519e-01 4.615366e-02 -1.998874e-02 9.807297e-03 -6.023491e-03 3.4794256e-03
4.536408e+00 -1.4066975e-01 4.4885963e-02 -1.9462146e-02 9.557589e-03 -5.868139e-03 3.3872258e-03
4.680553e+00 -1.3666818e-01 4.3714162e-02 -1.8975098e-02 9.328126e-03 -5.7207486e-03 3.2966323e-03
4.820706e+00 -1.3298355e-01 4.2629123e-02 -1.8516993e-02 9.102218e-03 -5.5979444e-03 3.2359147e-03
4.957175e+00 -1.2957576e-01 4.1621603e-02 -1.809513e-02 8.878181e-03 -5.4674176e-03 3.2015124e-03
5.090231e+00 -1.2641256e-01 4.0672667e-02 -1.7699985e-02 8.717334e-03 -5.345323e-03 3.07857e-03
5.220113e+00 -1.23465456e-01 3.979586e-02 -1.7338676e-02 8.496656e-03 -5.2041877e-03 3.0909134e-03
5.3470345e+00 -1.207143e-01 3.896284e-02 -1.6967155e-02 8.344694e-03 -5.1610963e-03 3.0030021e-03
5.4711857e+00 -1.1813411e-01 3.817841e-02 -1.6645417e-02 8.20706e-03 -5.038927e-03 2.9048515e-03
5.592737e+00 -1.157113e-01 3.7444886e-02 -1.6324261e-02 8.035965e-03 -4.972405e-03 2.890912e-03
5.7118435e+00 -1.1342758e-01 3.6751278e-02 -1.6044188e-02 7.8782085e-03 -4.8411437e-03 2.8654665e-03
5.8286448e+00 -1.1127343e-01 3.6085032e-02 -1.5759258e-02 7.782052e-03 -4.7706957e-03 2.7444414e-03
5.943267e+00 -1.0923568e-01 3.5464562e-02 -1.5489299e-02 7.6198303e-03 -4.7023953e-03 2.7611218e-03
6.0558267e+00 -1.0730443e-01 3.4866568e-02 -1.5232313e-02 7.5144386e-03 -4.636682e-03 2.6859145e-03
6.1664295e+00 -1.05470575e-01 3.4300577e-02 -1.4989364e-02 7.394256e-03 -4.5685093e-03 2.6500542e-03
6.2751727e+00 -1.0372543e-01 3.376404e-02 -1.4769676e-02 7.2621987e-03 -4.468746e-03 2.645687e-03
"""


def _by_exponent() -> F32:
    """Coefficients f32[7, 32]: column e for the exponents that end in the five bits e."""
    fitted = np.array(_FITTED.split(), np.float32).reshape(_N_OCTAVES, -1)
    table = np.empty(fitted.T.shape, np.float32)
    table[:, (126 - np.arange(_N_OCTAVES)) % _N_OCTAVES] = fitted.T
    return table


_TABLE: Final = _by_exponent()
_DEGREE: Final = len(_TABLE) - 1


@inline
def normal_of_bits(bits: np.int32) -> np.float32:
    """Return the normal number of these bits: q from the low 31, the sign from the highest.

    ``|z|`` is what a normal number exceeds in magnitude with probability q, for q the midpoints of 2^31 equal cells
    of (0, 1); within 1e-6.
    """
    cell = min(bits & np.int32(0x7FFFFFFF), np.int32(_LARGEST))
    q = as_i32(fma(np.float32(cell), np.float32(2.0**-31), np.float32(2.0**-32)))
    octave = (q >> np.int32(23)) & np.int32(31)
    t = as_f32((q & np.int32(0x007FFFFF)) | np.int32(0x3F800000)) - np.float32(1.5)
    z = _TABLE[_DEGREE, octave]
    for power in range(_DEGREE - 1, -1, -1):
        z = fma(z, t, _TABLE[power, octave])
    return as_f32(as_i32(z) ^ (bits & np.int32(_SIGN)))


def normals_of_bits(builder: Any, bits: Value) -> Value:
    """Emit :func:`normal_of_bits` of every lane of a vector: the same operations, so the same numbers."""
    words = vectors.WORDS
    cell = builder.and_(bits, vectors.constants(words, 0x7FFFFFFF))
    largest = vectors.constants(words, _LARGEST)
    cell = builder.select(builder.icmp_signed("<", cell, largest), cell, largest)
    scale, half = (vectors.constants(vectors.FLOATS, number) for number in (2.0**-31, 2.0**-32))
    q = vectors.multiply_add(builder, builder.sitofp(cell, vectors.FLOATS), scale, half)
    q = builder.bitcast(q, words)
    exponent = builder.lshr(q, vectors.constants(words, 23))
    mantissa = builder.and_(q, vectors.constants(words, 0x007FFFFF))
    mantissa = builder.bitcast(builder.or_(mantissa, vectors.constants(words, 0x3F800000)), vectors.FLOATS)
    t = builder.fsub(mantissa, vectors.constants(vectors.FLOATS, 1.5))
    z = vectors.look_up(builder, _TABLE[_DEGREE], exponent)
    for power in range(_DEGREE - 1, -1, -1):
        z = vectors.multiply_add(builder, z, t, vectors.look_up(builder, _TABLE[power], exponent))
    sign = builder.and_(bits, vectors.constants(words, _SIGN))
    return builder.bitcast(builder.xor(builder.bitcast(z, words), sign), vectors.FLOATS)
