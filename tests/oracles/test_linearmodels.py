"""Two-stage least squares against linearmodels."""

import warnings

import numpy as np
import pytest

from decider.learning.instrument import two_stage

pytest.importorskip("statsmodels")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    iv = pytest.importorskip("linearmodels.iv")


def logged(seed, n=500):
    g = np.random.default_rng(seed)
    keen, x = g.normal(size=n), g.normal(size=(n, 3))
    sent = (g.random(n) < 0.4).astype(float)
    opened = ((0.8 * sent + 0.5 * keen + 0.3 * x[:, 0] + g.normal(size=n)) > 0.4).astype(float)
    reward = 1 + keen + x @ [0.5, -0.2, 0.0] + 0.7 * opened + (1 + 0.5 * np.abs(x[:, 1])) * g.normal(size=n)
    return reward, opened, sent, x


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_value_and_error_agree(clustered):
    reward, opened, sent, x = logged(1)
    keys = np.arange(500, dtype=np.uint64) // 4
    exogenous = np.column_stack([np.ones(500), x])
    model = iv.IV2SLS(reward, exogenous, opened, sent)
    if clustered:
        ref = model.fit(cov_type="clustered", clusters=keys.astype(np.int64), debiased=False)
        n_members = 125
        scale = np.sqrt(n_members / (n_members - 1))
    else:
        ref, scale = model.fit(cov_type="robust", debiased=False), 1.0
    comp = two_stage(reward, opened, sent, x, keys if clustered else None)
    assert comp.value == pytest.approx(float(ref.params.iloc[-1]), rel=1e-8)
    error = float(ref.std_errors.iloc[-1])
    assert comp.standard_error == pytest.approx(error * scale, rel=1e-8)
