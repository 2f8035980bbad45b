"""Linear models of which each row takes the one of its fold."""

from __future__ import annotations

import numpy as np

from decider_core.compile import F32, F64, I64, kernel
from decider_core.contracts import check_array, check_range


def predict_by_fold(z: F32, fold: I64, coefficients: F64) -> F64:
    """Return ``coefficients[fold[i], a] . z[i]`` for every row and action, f64[n, n_actions].

    Parameters
    ----------
    z : f32[n, d]
        Features; products are made in float64.
    fold : i64[n]
        In [0, n_folds).
    coefficients : f64[n_folds, n_actions, d]

    Raises
    ------
    ContractError
        If a dtype or shape is wrong, or a fold out of range.
    """
    coefficients = check_array("coefficients", coefficients, np.float64, (None, None, None))
    n_folds, n_actions, d = coefficients.shape
    z = check_array("z", z, np.float32, (None, d))
    fold = check_array("fold", fold, np.int64, (len(z),))
    check_range("fold", fold, 0, n_folds - 1)
    out = np.empty((len(z), n_actions))
    # Actions last: they are what the processor works on side by side.
    _predict_by_fold(z, fold, np.ascontiguousarray(coefficients.transpose(0, 2, 1)), np.empty(n_actions), out)
    return out


@kernel
def _predict_by_fold(z: F32, fold: I64, coefficients: F64, sums: F64, out: F64) -> None:
    for i in range(len(z)):
        of_fold = coefficients[fold[i]]
        sums[:] = 0.0
        for j in range(of_fold.shape[0]):
            number = np.float64(z[i, j])
            for a in range(sums.size):
                sums[a] += number * of_fold[j, a]
        out[i] = sums
