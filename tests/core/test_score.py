"""Posterior moments: against their definition, in any batch, for singular and for wrong posteriors."""

from __future__ import annotations

import naive_score as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.features import Scaling, standardise
from decider_core.score import fatigue, moments_and_fatigue, pack_posterior, posterior_moments

shapes = pytest.mark.parametrize(
    ("n", "k", "d", "p"),
    [(1, 1, 1, 0), (3, 2, 5, 0), (33, 4, 6, 0), (31, 5, 3, 1), (40, 3, 4, 3), (2, 1, 1, 4), (0, 2, 2, 1)]
    if INTERPRETED
    else [
        (1, 1, 1, 0),
        (3, 2, 5, 0),
        (70, 7, 9, 0),
        (64, 8, 32, 0),
        (31, 5, 3, 1),
        (100, 3, 4, 3),
        (33, 9, 17, 2),
        (2, 1, 1, 4),
        (0, 2, 2, 1),
    ],
)


class Case:
    """A posterior and features of the given shape."""

    def __init__(self, n: int, k: int, d: int, p: int, seed: int = 0, rank: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        size = d + p
        self.mean = rng.normal(size=(k, size))
        root = rng.normal(size=(k, size, rank or size)) / np.sqrt(size)
        self.covariance = root @ root.transpose(0, 2, 1)
        self.variance = rng.uniform(0.0, 2.0, (k, size))
        self.z = rng.normal(size=(n, d)).astype(np.float32)
        self.u = rng.normal(size=(p, k, n)).astype(np.float32)
        self.n, self.k, self.p = n, k, p

    def x(self, candidate: int, member: int) -> list[float]:
        return [*self.z[member].tolist(), *self.u[:, candidate, member].tolist()]

    def expect(self, *, diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = np.empty((self.k, self.n)), np.empty((self.k, self.n))
        for c in range(self.k):
            spread = self.variance[c].tolist() if diagonal else self.covariance[c].tolist()
            moments = naive.diagonal_moments if diagonal else naive.moments
            for m in range(self.n):
                mean[c, m], sd[c, m] = moments(self.mean[c].tolist(), spread, self.x(c, m))
        return mean, sd

    def pack(self, *, diagonal: bool = False):
        return pack_posterior(self.mean, self.variance if diagonal else self.covariance, self.p)


def assert_same_bits(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


@shapes
@pytest.mark.parametrize("diagonal", [False, True])
def test_moments_are_their_definition(n, k, d, p, diagonal):
    case = Case(n, k, d, p)
    ref_mean, ref_sd = case.expect(diagonal=diagonal)
    mean, sd = posterior_moments(case.pack(diagonal=diagonal), case.z, case.u)
    # d + p float32 roundings of sums of at most a few units each.
    np.testing.assert_allclose(mean, ref_mean, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(sd, ref_sd, rtol=1e-5, atol=1e-6)
    assert mean.dtype == sd.dtype == np.float32


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_moments_are_their_definition_for_any_shape(seed, k, d, p, diagonal):
    case = Case(2, k, d, p, seed)
    ref_mean, ref_sd = case.expect(diagonal=diagonal)
    mean, sd = posterior_moments(case.pack(diagonal=diagonal), case.z, case.u)
    np.testing.assert_allclose(mean, ref_mean, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(sd, ref_sd, rtol=1e-5, atol=1e-6)


N_BATCH = 40 if INTERPRETED else 200
BATCH_CASE = Case(N_BATCH, 5, 7, 2, seed=1)
EVERYONE = {
    diagonal: posterior_moments(BATCH_CASE.pack(diagonal=diagonal), BATCH_CASE.z, BATCH_CASE.u)
    for diagonal in (False, True)
}


@given(st.lists(st.integers(0, N_BATCH - 1), min_size=1, max_size=70), st.booleans())
def test_a_member_has_the_same_bits_in_any_batch_and_lane(members, diagonal):
    chosen = np.array(members)
    packed = BATCH_CASE.pack(diagonal=diagonal)
    comp = posterior_moments(packed, BATCH_CASE.z[chosen], BATCH_CASE.u[:, :, chosen])
    for ref, got in zip(EVERYONE[diagonal], comp, strict=True):
        assert_same_bits(ref[:, chosen], got)


def test_a_candidate_has_the_same_bits_among_any_others():
    case, chosen = BATCH_CASE, np.array([4, 1])
    packed = pack_posterior(case.mean[chosen], case.covariance[chosen], case.p)
    comp = posterior_moments(packed, case.z, case.u[:, chosen])
    for ref, got in zip(EVERYONE[False], comp, strict=True):
        assert_same_bits(ref[chosen], got)


def test_diagonal_form_equals_the_full_one_with_a_diagonal_covariance():
    case = Case(40, 3, 6, 2)
    covariance = np.array([np.diag(v) for v in case.variance])
    mean, sd = posterior_moments(case.pack(diagonal=True), case.z, case.u)
    full_mean, full_sd = posterior_moments(pack_posterior(case.mean, covariance, case.p), case.z, case.u)
    np.testing.assert_allclose(mean, full_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sd, full_sd, rtol=1e-5)


def test_a_pair_feature_that_all_candidates_share_is_a_member_feature():
    case = Case(40, 1, 4, 2)
    as_member = np.ascontiguousarray(np.concatenate([case.z, case.u[:, 0].T], axis=1))
    ref = posterior_moments(pack_posterior(case.mean, case.covariance), as_member)
    for got, expected in zip(posterior_moments(case.pack(), case.z, case.u), ref, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3])
def test_singular_covariances_are_served(rank):
    case = Case(20, 3, 5, 1, rank=rank)
    ref_mean, ref_sd = case.expect(diagonal=False)
    mean, sd = posterior_moments(case.pack(), case.z, case.u)
    np.testing.assert_allclose(mean, ref_mean, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(sd, ref_sd, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_certain_posterior_has_no_spread(diagonal):
    case = Case(3, 2, 4, 1)
    zero = np.zeros_like(case.variance if diagonal else case.covariance)
    _, sd = posterior_moments(pack_posterior(case.mean, zero, case.p), case.z, case.u)
    np.testing.assert_array_equal(sd, 0.0)


def test_inputs_may_be_read_only_and_are_untouched_and_out_is_filled():
    case = Case(5, 2, 3, 1)
    before = case.z.copy(), case.u.copy()
    case.z.flags.writeable = case.u.flags.writeable = False
    out = np.empty((2, 5), np.float32), np.empty((2, 5), np.float32)
    mean, sd = posterior_moments(case.pack(), case.z, case.u, out=out)
    assert mean is out[0]
    assert sd is out[1]
    np.testing.assert_array_equal(case.z, before[0])
    np.testing.assert_array_equal(case.u, before[1])


def broken(change: str):
    case = Case(2, 2, 3, 1)
    covariance = case.covariance.copy()
    if change == "asymmetric":
        covariance[1, 0, 2] += 0.1
    if change == "negative":
        covariance[1] -= 10.0 * np.eye(4)
    if change == "nan":
        covariance[1, 2, 3] = np.nan
    return case.mean, covariance


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("asymmetric", "covariance must be symmetric, got entries 0.1 apart at candidate 1"),
        ("negative", "covariance must be positive semidefinite, got eigenvalue -9.* at candidate 1"),
        ("nan", r"covariance must be in .*, got nan at \[1, 2, 3\]"),
    ],
)
def test_wrong_covariances_are_refused(change, message):
    with pytest.raises(ContractError, match=message):
        pack_posterior(*broken(change), 1)


@pytest.mark.parametrize(
    ("mean", "covariance", "p", "message"),
    [
        (
            np.zeros((2, 3)),
            np.zeros((2, 3, 2)),
            0,
            r"covariance must have shape \(2, 3, 3\), got \(2, 3, 2\)",
        ),
        (np.zeros((2, 3)), np.zeros((2, 4)), 0, r"variance must have shape \(2, 3\), got \(2, 4\)"),
        (np.zeros((2, 3)), -np.ones((2, 3)), 0, r"variance must be in \[0, .*\], got -1.0 at \[0, 0\]"),
        (np.full((1, 1), np.inf), np.ones((1, 1)), 0, r"mean must be in .*, got inf at \[0, 0\]"),
        (np.full((1, 1), 1e39), np.ones((1, 1)), 0, r"mean must be in .*, got 1e\+39 at \[0, 0\]"),
        (np.zeros((2, 3)), np.ones((2, 3)), 3, r"n_pair_features must be in \[0, 2\] for 3 weights, got 3"),
        (np.zeros((2, 3), np.float32), np.ones((2, 3)), 0, "mean must have dtype float64, got float32"),
        (np.zeros((0, 3)), np.ones((0, 3)), 0, "mean must hold at least one candidate, got none"),
    ],
)
def test_wrong_posteriors_are_refused(mean, covariance, p, message):
    with pytest.raises(ContractError, match=message):
        pack_posterior(mean, covariance, p)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("narrow z", r"z must have shape \(any, 3\), got \(2, 2\)"),
        ("nan in z", r"z must be finite, got nan at \[1, 2\]"),
        ("inf in u", r"u must be finite, got inf at \[0, 1, 0\]"),
        ("no u", r"u must have shape \(1, 2, 2\), got \(0, 2, 2\)"),
        ("u of others", r"u must have shape \(1, 2, 2\), got \(1, 2, 1\)"),
        ("float64", "z must have dtype float32, got float64"),
    ],
)
def test_wrong_features_are_refused(change, message):
    case = Case(2, 2, 3, 1)
    z, u = case.z, case.u
    if change == "narrow z":
        z = np.ascontiguousarray(z[:, :2])
    if change == "nan in z":
        z[1, 2] = np.nan
    if change == "inf in u":
        u[0, 1, 0] = np.inf
    if change == "no u":
        u = None
    if change == "u of others":
        u = u[:, :, :1]
    if change == "float64":
        z = z.astype(np.float64)
    with pytest.raises(ContractError, match=message):
        posterior_moments(case.pack(), z, u)


def test_fatigue_is_its_definition_and_never_negative():
    rng = np.random.default_rng(3)
    z, v = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=6).astype(np.float32)
    ref = [naive.fatigue(row.tolist(), v.tolist()) for row in z]
    comp = fatigue(z, v)
    np.testing.assert_allclose(comp, ref, rtol=1e-5, atol=1e-6)
    assert (comp == 0.0).any()
    assert_same_bits(comp[7:9], fatigue(z[7:9], v))


def test_fatigue_refuses_wrong_weights():
    z = np.zeros((2, 3), np.float32)
    with pytest.raises(ContractError, match=r"v must have shape \(3\), got \(2,\)"):
        fatigue(z, np.zeros(2, np.float32))
    with pytest.raises(ContractError, match=r"v must be finite, got nan at \[0\]"):
        fatigue(z, np.full(3, np.nan, np.float32))


@shapes
def test_moments_and_fatigue_from_one_reading_have_the_bits_of_two(n: int, k: int, d: int, p: int):
    case = Case(n, k, d, p)
    v = np.random.default_rng(4).normal(size=d).astype(np.float32)
    packed = case.pack()
    mean, sd, tired = moments_and_fatigue(packed, v, case.z, case.u)
    for comp, ref in zip((mean, sd), posterior_moments(packed, case.z, case.u), strict=True):
        assert_same_bits(comp, ref)
    assert_same_bits(tired, fatigue(case.z, v))


def test_fatigue_without_features_is_none():
    np.testing.assert_array_equal(fatigue(np.empty((3, 0), np.float32), np.empty(0, np.float32)), np.zeros(3))


def test_moments_and_fatigue_refuse_weights_that_do_not_fit():
    case = Case(3, 2, 5, 0)
    with pytest.raises(ContractError, match=r"v must have shape \(5\)"):
        moments_and_fatigue(case.pack(), np.zeros(4, np.float32), case.z)
    with pytest.raises(ContractError, match="v must be finite"):
        moments_and_fatigue(case.pack(), np.full(5, np.nan, np.float32), case.z)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("n", "k", "d", "p"), [(1, 1, 2, 0), (33, 4, 6, 0), (40, 3, 20, 1), (0, 2, 4, 0)])
def test_scaled_on_the_way_has_the_same_bits(n, k, d, p, intercept):
    case, v = Case(n, k, d, p), np.linspace(-1.0, 1.0, d, dtype=np.float32)
    rng = np.random.default_rng(3)
    d0 = d - intercept
    mean, inverse_scale = (rng.normal(size=d0).astype(np.float32) for _ in range(2))
    inverse_scale[0] = 0.0
    scaling = Scaling(mean, inverse_scale, intercept)
    x = np.ascontiguousarray(case.z[:, :d0]) * np.float32(1e3)
    ref = moments_and_fatigue(case.pack(), v, standardise(x, scaling), case.u)
    for expected, got in zip(ref, moments_and_fatigue(case.pack(), v, x, case.u, None, scaling), strict=True):
        assert_same_bits(expected, got)


@pytest.mark.parametrize(
    ("place", "number", "text"),
    [
        (0, np.nan, r"x must be finite, got nan at \[2, 0\]"),
        (1, 3e38, r"z must be finite, got inf at \[2, 2\]"),
    ],
)
def test_scaled_on_the_way_refuses_the_same(place, number, text):
    """A feature that is not finite, also in a constant column, and one that scaling makes infinite."""
    case = Case(5, 2, 3, 0)
    x = np.ones((5, 2), np.float32)
    x[2, place] = number
    scaling = Scaling(np.zeros(2, np.float32), np.array([0.0, 10.0], np.float32), True)
    with pytest.raises(ContractError, match=text):
        moments_and_fatigue(case.pack(), np.zeros(3, np.float32), x, None, None, scaling)
