"""Effects: their definitions, what CUPED takes off, false alarms, and refusals."""

from __future__ import annotations

import naive_effects as naive
import numpy as np
import pytest

from decider.experiments import Looks, metric_effect, moments_of
from decider_core.moments import add_members, no_moments

LOOKS = Looks(first_look=10, planned_members=2_000)


def members(n=400, seed=0):
    g = np.random.default_rng(seed)
    d = g.poisson(3.0, n) + 1.0
    return (g.random(n) < 0.4).astype(np.uint8), g.poisson(d).astype(float), d, g.normal(size=n)


def effect_of(cells, *columns, looks=LOOKS, **form):
    return metric_effect(moments_of(cells, columns, 2), 1, 0, looks, **form)


def test_a_mean_is_compared_by_welch():
    cells, y, _, _ = members()
    found = effect_of(cells, y)
    value, error = naive.difference(y[cells == 1].tolist(), y[cells == 0].tolist())
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.standard_error == pytest.approx(error, rel=1e-10)
    assert (found.mean, found.base_mean) == pytest.approx((y[cells == 1].mean(), y[cells == 0].mean()))
    assert found.interval.low < found.value < found.interval.high
    assert (found.p_value <= 0.05) == (found.sign != 0)


def test_a_ratio_by_the_delta_method():
    cells, y, d, _ = members()
    found = effect_of(cells, y, d, ratio=True)
    parts = [naive.ratio_parts(y[cells == c].tolist(), d[cells == c].tolist()) for c in (1, 0)]
    assert found.value == pytest.approx(
        y[cells == 1].sum() / d[cells == 1].sum() - y[cells == 0].sum() / d[cells == 0].sum(), rel=1e-12
    )
    assert found.standard_error == pytest.approx(naive.difference(*parts)[1], rel=1e-10)


def test_rows_of_one_member_are_one_member():
    # Each member's row seven times, added up: the ratio to rows has the error of members, not of rows.
    cells, y, _, _ = members()
    found = effect_of(cells, 7 * y, np.full(y.size, 7.0), ratio=True)
    assert found.standard_error == pytest.approx(effect_of(cells, y).standard_error, rel=1e-10)


@pytest.mark.parametrize("ratio", [False, True])
def test_the_covariate_takes_off_as_much_as_any_theta_can(ratio):
    cells, y, d, x = members(4_000)
    y = y + 2.0 * x
    columns = (y, d, x) if ratio else (y, x)
    found = effect_of(cells, *columns, ratio=ratio, covariate=True)
    parts = {
        c: np.array(naive.ratio_parts(y[cells == c].tolist(), d[cells == c].tolist()))
        if ratio
        else y[cells == c]
        for c in (1, 0)
    }
    errors = {
        theta: naive.difference(*[(parts[c] - theta * x[cells == c]).tolist() for c in (1, 0)])[1]
        for theta in np.linspace(0.0, 4.0, 801)
    }
    assert found.standard_error == pytest.approx(min(errors.values()), rel=1e-4)
    plain = effect_of(cells, *columns[:-1], ratio=ratio)
    left = (found.standard_error / plain.standard_error) ** 2
    assert found.variance_reduction == pytest.approx(1 - left, rel=1e-9)


def test_cuped_leaves_one_less_rho_squared():
    # In 1,000 experiments the ratio of variances has a standard error of 2 rho (1 - rho^2) / sqrt(1000) = 0.024:
    # off by five of these has probability 6e-7; what is reported has a much smaller one.
    rho, plain, adjusted, reported = 0.6, [], [], []
    for seed in range(1_000):
        g = np.random.default_rng(seed)
        x = g.normal(size=500)
        y = rho * x + np.sqrt(1 - rho**2) * g.normal(size=500)
        cells = (g.random(500) < 0.5).astype(np.uint8)
        plain.append(effect_of(cells, y).value)
        found = effect_of(cells, y, x, covariate=True)
        adjusted.append(found.value)
        reported.append(found.variance_reduction)
    assert np.var(adjusted) / np.var(plain) == pytest.approx(1 - rho**2, abs=5 * 0.024)
    assert np.mean(reported) == pytest.approx(rho**2, abs=0.01)


def test_looking_often_raises_few_false_alarms():
    # At most 5 % of streams are wrong: of 200 more than 24 has probability below 1e-4. A t-test is wrong in a third.
    g = np.random.default_rng(5)
    wrong = watched = 0
    for _ in range(200):
        moments = no_moments(2, 1)
        alarm = t_alarm = False
        for _ in range(50):
            cells = (g.random(500) < 0.5).astype(np.uint8)
            add_members(moments, cells, (g.random((1, 500)) < 0.1).astype(float))
            found = metric_effect(moments, 1, 0, Looks(first_look=150, planned_members=10_000))
            alarm |= found.sign != 0
            t_alarm |= found.value is not None and abs(found.value) > 1.96 * found.standard_error
        wrong += alarm
        watched += t_alarm
    assert wrong <= 24
    assert watched > 40


def test_an_effect_is_found_and_its_p_value_agrees():
    cells, y, _, _ = members(20_000)
    found = effect_of(cells, y + 0.5 * cells)
    assert found.sign == 1
    assert found.p_value < 1e-6
    assert found.interval.low < 0.5 < found.interval.high


@pytest.mark.parametrize(
    ("column", "looks", "text"),
    [
        (np.ones(400), LOOKS, "nothing varies between members"),
        (np.arange(400.0), Looks(first_look=1_000), "the first look is at 1,000 members in each cell, got "),
        (np.eye(1, 400)[0] * 1.0, LOOKS, "members in each cell, for a skewness of"),
    ],
)
def test_without_support_there_is_no_number(column, looks, text):
    found = effect_of(np.tile(np.array([1, 0], np.uint8), 200), column, looks=looks)
    assert found.value is None
    assert found.interval is None
    assert text in found.refused
    assert found.sign == 0


def test_a_ratio_to_nothing_is_refused():
    cells, y, _, _ = members()
    assert "divided by must be > 0" in effect_of(cells, y, np.zeros(y.size), ratio=True).refused
