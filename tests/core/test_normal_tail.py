import numpy as np
from scipy import stats

from decider_core.compile import INTERPRETED, kernel
from decider_core.normal_tail import exp_below_1, half_tail

N = 300 if INTERPRETED else 100_001


@kernel
def tails(x, tail, power):
    for i in range(x.size):
        tail[i] = half_tail(x[i])
        power[i] = exp_below_1(min(50.0 * x[i], 1.0))


def test_tails_and_powers_are_those_of_the_library():
    x = np.linspace(-9.19, 9.19, N)
    tail, power = np.empty_like(x), np.empty_like(x)
    tails(x, tail, power)
    np.testing.assert_allclose(tail, stats.norm.sf(np.abs(x)), rtol=5e-13)
    np.testing.assert_allclose(power, np.exp(np.minimum(50 * x, 1.0)), rtol=1e-13)


def test_far_out_it_stays_a_tail():
    x = np.array([9.2, -30.0, 1e30, -np.inf])
    tail = np.empty_like(x)
    tails(x, tail, np.empty_like(x))
    assert ((tail > 0) & (tail < 2.1e-20)).all()
