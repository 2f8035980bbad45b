import math

import numpy as np
import pytest

from decider_core.by_fold import predict_by_fold
from decider_core.contracts import ContractError


def test_each_row_takes_the_model_of_its_fold():
    g = np.random.default_rng(0)
    z, fold = g.normal(size=(60, 5)).astype(np.float32), g.integers(0, 3, 60)
    coefficients = g.normal(size=(3, 4, 5))
    ref = [
        [
            math.fsum(float(x) * w for x, w in zip(row, of_action, strict=True))
            for of_action in coefficients[f]
        ]
        for row, f in zip(z, fold, strict=True)
    ]
    np.testing.assert_allclose(predict_by_fold(z, fold, coefficients), ref, rtol=1e-12, atol=1e-14)
    assert predict_by_fold(z[:0], fold[:0], coefficients).shape == (0, 4)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_fold_out_of_range_is_refused(wrong):
    with pytest.raises(ContractError, match=r"fold must be in \[0, 2\]"):
        predict_by_fold(np.ones((2, 5), np.float32), np.array([0, wrong]), np.ones((3, 4, 5)))
