import math

import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.coverage import coverage, expected, given_over_chance, of_action


def made(seed, n=200, n_actions=4):
    """Rows with actions that are impossible, and targets that are certain, spread or none."""
    g = np.random.default_rng(seed)
    propensity = g.dirichlet(np.ones(n_actions), n) * (g.random((n, n_actions)) < 0.8)
    propensity[:, 0] += 0.005
    propensity /= propensity.sum(axis=1, keepdims=True)
    action = np.array([g.choice(n_actions, p=p) for p in propensity])
    target = g.dirichlet(np.ones(n_actions), n)
    certain = g.random(n) < 0.5
    target[certain] = np.eye(n_actions)[g.integers(0, n_actions, certain.sum())]
    return target, propensity, action


def naive_coverage(target, propensity, action, least):
    pairs = [
        (i, wanted, chance)
        for i, (row, chances) in enumerate(zip(target.tolist(), propensity.tolist(), strict=True))
        for wanted, chance in zip(row, chances, strict=True)
        if wanted > 0
    ]
    return (
        [target[i, a] / propensity[i, a] for i, a in enumerate(action)],
        len({i for i, _, chance in pairs if chance == 0}),
        min(chance for _, _, chance in pairs),
        math.fsum(wanted for _, wanted, chance in pairs if chance >= least),
        max(wanted / chance for _, wanted, chance in pairs if chance > 0),
        len({i for i, wanted, _ in pairs if wanted == 1.0}),
    )


@pytest.mark.parametrize("seed", range(4))
def test_coverage_equals_its_definition(seed):
    rows = made(seed)
    ref, comp = naive_coverage(*rows, 0.01), coverage(*rows, 0.01)
    np.testing.assert_allclose(comp.weight, ref[0], rtol=1e-15)
    assert comp[1:] == pytest.approx(ref[1:], rel=1e-12)
    assert 0 < comp.n_unsupported < 200
    assert 0 < comp.n_certain < 200


def test_no_rows_cover_nothing():
    found = coverage(np.empty((0, 3)), np.empty((0, 3)), np.empty(0, np.int64), 0.01)
    assert found.weight.size == 0
    assert found[1:] == (0, math.inf, 0.0, 0.0, 0)


def test_expected_and_logged_values_equal_their_definition():
    chances, values, action = made(9)
    ref = [
        math.fsum(p * v for p, v in zip(row, of, strict=True))
        for row, of in zip(chances, values, strict=True)
    ]
    np.testing.assert_allclose(expected(chances, values), ref, rtol=1e-13)
    assert of_action(values, action).tolist() == [values[i, a] for i, a in enumerate(action)]


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_action_out_of_range_is_refused(wrong):
    values, action = np.ones((2, 3)), np.array([0, wrong])
    with pytest.raises(ContractError, match=r"action must be in \[0, 3\), got"):
        of_action(values, action)
    with pytest.raises(ContractError, match=r"action must be in \[0, 3\), got"):
        coverage(values, values, action, 0.01)


def test_given_over_chance_equals_its_definition():
    _, propensity, action = made(11)
    columns, variances = given_over_chance(propensity, action)
    for a in range(4):
        chances = propensity[:, a].tolist()
        given = [1 / p if logged == a else 0.0 for p, logged in zip(chances, action.tolist(), strict=True)]
        assert columns[2 * a].tolist() == given
        assert columns[2 * a + 1].tolist() == [float(p > 0) for p in chances]
        assert variances[a] == pytest.approx(math.fsum((1 - p) / p for p in chances if p > 0), rel=1e-12)
