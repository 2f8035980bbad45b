from __future__ import annotations

import math

import naive_score as naive
import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.features import Scaling, column_moments, standardise


def make(n: int = 9, d: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in ((n, d), d, d))


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("n", "d"), [(9, 4), (1, 1), (0, 3), (3, 0), (40, 33)])
def test_standardise_is_its_definition(n, d, intercept):
    x, mean, inverse_scale = make(n, d)
    columns = mean.tolist(), inverse_scale.tolist()
    ref = [naive.standardise(row.tolist(), *columns, intercept) for row in x]
    comp = standardise(x, Scaling(mean, inverse_scale, intercept))
    assert comp.dtype == np.float32
    assert comp.shape == (n, d + intercept)
    np.testing.assert_allclose(comp, np.reshape(ref, comp.shape), rtol=1e-5, atol=1e-6)


def test_a_member_has_the_same_bits_alone():
    x, mean, inverse_scale = make(50, 19)
    everyone = standardise(x, Scaling(mean, inverse_scale, True))
    np.testing.assert_array_equal(everyone[7:8], standardise(x[7:8], Scaling(mean, inverse_scale, True)))


def test_a_constant_column_is_zero():
    x = np.full((3, 1), 7.0, np.float32)
    z = standardise(x, Scaling(np.full(1, 7.0, np.float32), np.zeros(1, np.float32), False))
    np.testing.assert_array_equal(z, 0.0)


@pytest.mark.parametrize("name", ["x", "mean", "inverse_scale"])
def test_values_that_are_not_finite_are_refused(name):
    arrays = dict(zip(("x", "mean", "inverse_scale"), make(), strict=True))
    arrays[name][-1] = np.nan
    with pytest.raises(ContractError, match=f"{name} must be finite, got nan at"):
        standardise(arrays.pop("x"), Scaling(**arrays, intercept=True))


def test_columns_that_do_not_fit_are_refused():
    x, mean, inverse_scale = make()
    with pytest.raises(ContractError, match=r"mean must have shape \(4\), got \(3,\)"):
        standardise(x, Scaling(mean[:3], inverse_scale, True))


def test_column_moments_equal_their_definition():
    x = (5.0 + np.random.default_rng(3).normal(size=(500, 4))).astype(np.float32)
    mean, squares = column_moments(x)
    for j, column in enumerate(x.astype(np.float64).T.tolist()):
        ref = math.fsum(column) / 500
        assert mean[j] == pytest.approx(ref, rel=1e-13)
        assert squares[j] == pytest.approx(math.fsum((value - ref) ** 2 for value in column), rel=1e-12)
    with pytest.raises(ContractError, match="x must have at least one row"):
        column_moments(x[:0])
