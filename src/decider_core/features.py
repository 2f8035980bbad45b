"""From a snapshot's columns to the feature vector z of the linear maps."""

from __future__ import annotations

import numpy as np

from decider_core.compile import F32, kernel
from decider_core.contracts import check_array, check_finite


def standardise(x: F32, mean: F32, inverse_scale: F32, intercept: bool) -> F32:
    """Return ``(x - mean) * inverse_scale``, after a column of ones if `intercept`.

    Parameters
    ----------
    x : f32[n_members, d0]
        Columns of the snapshot.
    mean, inverse_scale : f32[d0]
        Of each column: what is subtracted, then multiplied. A constant column has inverse scale 0.
    intercept
        Whether a column of ones comes first.

    Returns
    -------
    f32[n_members, d0 + intercept]

    Raises
    ------
    ContractError
        If a shape or dtype does not fit, or a value is not finite.
    """
    x = check_array("x", x, np.float32, (None, None))
    d0 = x.shape[1]
    mean = check_array("mean", mean, np.float32, (d0,))
    inverse_scale = check_array("inverse_scale", inverse_scale, np.float32, (d0,))
    check_finite("x", x)
    check_finite("mean", mean)
    check_finite("inverse_scale", inverse_scale)
    z = np.empty((x.shape[0], d0 + intercept), np.float32)
    _standardise(x, mean, inverse_scale, z)
    return z


@kernel
def _standardise(x: F32, mean: F32, inverse_scale: F32, z: F32) -> None:
    d0 = mean.size
    ones = z.shape[1] - d0
    for member in range(x.shape[0]):
        for i in range(ones):
            z[member, i] = np.float32(1.0)
        columns, standardised = x[member], z[member, ones:]
        for i in range(d0):
            standardised[i] = (columns[i] - mean[i]) * inverse_scale[i]
