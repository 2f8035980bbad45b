import naive_estimate as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.estimate import COUNT, WEIGHT, merge, off_policy, values

N_ROWS = 40 if INTERPRETED else 300


def log(seed, n=N_ROWS, n_members=None):
    """Random arguments of off_policy but the number of resamples and the seed."""
    g = np.random.default_rng(seed)
    keys = g.integers(0, 2**64, n_members or n, dtype=np.uint64)
    return {
        "reward": g.normal(1.0, 2.0, n),
        "propensity": g.uniform(0.05, 1.0, n),
        "target": np.where(g.random(n) < 0.3, 0.0, g.random(n)),
        "dm": g.normal(size=n),
        "q_logged": g.normal(size=n),
        "member_keys": keys[g.integers(0, len(keys), n)],
    }


@pytest.mark.parametrize("seed", [0, -3, 2**63 + 5])
@pytest.mark.parametrize("n_resamples", [0, 1, 17])
def test_equals_its_definition(seed, n_resamples):
    rows = log(1, n=30, n_members=12)
    totals, resampled, squares, largest = naive.off_policy(
        *rows.values(), n_resamples=n_resamples, seed=seed % 2**64
    )
    comp = off_policy(**rows, n_resamples=n_resamples, seed=seed)
    np.testing.assert_allclose(comp.totals, totals, rtol=1e-12)
    np.testing.assert_allclose(comp.resampled, np.reshape(resampled, (4, n_resamples)), rtol=1e-12)
    np.testing.assert_allclose(comp.squared_weight, squares, rtol=1e-12)
    assert comp.largest_weight == pytest.approx(largest)
    assert comp.effective_rows == pytest.approx(totals[1] ** 2 / squares)
    assert comp.largest_share == pytest.approx(largest / totals[1])


def test_values_are_the_published_ratios():
    rows = log(2)
    found = values(off_policy(**rows, n_resamples=4, seed=1))
    w = rows["target"] / rows["propensity"]
    assert found.ips == pytest.approx(np.mean(w * rows["reward"]), rel=1e-12)
    assert found.snips == pytest.approx(np.sum(w * rows["reward"]) / np.sum(w), rel=1e-12)
    robust = rows["dm"] + w * (rows["reward"] - rows["q_logged"])
    assert found.dr == pytest.approx(np.mean(robust), rel=1e-12)
    assert found.resampled_ips.shape == (4,)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(0, N_ROWS), seed=st.integers(0, 2**32))
def test_parts_add_up_to_the_whole(cut, seed):
    rows = log(seed, n_members=20)
    whole = off_policy(**rows, n_resamples=5, seed=seed)
    first, second = (
        off_policy(**{name: array[part] for name, array in rows.items()}, n_resamples=5, seed=seed)
        for part in (slice(None, cut), slice(cut, None))
    )
    parts = merge(first, second)
    np.testing.assert_allclose(parts.totals, whole.totals, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parts.resampled, whole.resampled, rtol=1e-12, atol=1e-11)
    assert parts.squared_weight == pytest.approx(whole.squared_weight)
    assert parts.largest_weight == whole.largest_weight


def test_rows_of_a_member_are_drawn_together():
    rows = log(3)
    rows["member_keys"] = np.repeat(np.arange(N_ROWS // 10, dtype=np.uint64), 10)
    counts = off_policy(**rows, n_resamples=64, seed=9).resampled[COUNT]
    assert (counts % 10 == 0).all()


def test_counts_do_not_depend_on_how_many_resamples_there_are():
    rows = log(4)
    few, many = (off_policy(**rows, n_resamples=b, seed=5).resampled for b in (3, 40))
    np.testing.assert_array_equal(few, many[:, :3])


@pytest.mark.skipif(INTERPRETED, reason="five million counts take minutes without the compiler")
@pytest.mark.parametrize("keys", ["neighbouring", "random"])
def test_counts_are_poisson_and_independent(keys):
    # Sums over n members of Poisson(1) counts: mean n, variance n, uncorrelated between resamples. The three
    # bounds are at 4.5 standard errors: a false alarm has probability 2e-5 in all.
    n, n_resamples = 2500, 2000
    g = np.random.default_rng(11)
    ones = np.ones(n)
    if keys == "neighbouring":
        member_keys = np.arange(n, dtype=np.uint64)
    else:
        member_keys = g.integers(0, 2**64, n, dtype=np.uint64)
    sums = off_policy(ones, ones, ones, ones, ones, member_keys, n_resamples, 3)
    counts = sums.resampled[COUNT]
    assert abs(counts.mean() / n - 1) < 4.5 / np.sqrt(n * n_resamples)
    assert abs(counts.var() / n - 1) < 4.5 * np.sqrt(2 / n_resamples)
    assert abs(np.corrcoef(counts[:-1], counts[1:])[0, 1]) < 4.5 / np.sqrt(n_resamples)
    np.testing.assert_array_equal(sums.resampled[COUNT], sums.resampled[WEIGHT])


@pytest.mark.skipif(INTERPRETED, reason="two million counts take minutes without the compiler")
def test_counts_of_one_member_have_the_poisson_law():
    # Chi-square of counts 0..5 and more over 200,000 pairs: 5 degrees of freedom, bound at probability 1e-6.
    n, n_resamples = 100, 2000
    zeros, ones = np.zeros(n), np.ones(n)
    found = np.zeros(6)
    for member in range(n):
        key = np.array([member], np.uint64)
        counts = off_policy(ones[:1], ones[:1], ones[:1], zeros[:1], zeros[:1], key, n_resamples, 4)
        found += np.bincount(np.minimum(counts.resampled[COUNT], 5).astype(int), minlength=6)
    law = np.array([0.36787944, 0.36787944, 0.18393972, 0.06131324, 0.01532831, 0.00365985])
    expected = law * n * n_resamples
    assert ((found - expected) ** 2 / expected).sum() < 36.0


def test_resamples_spread_as_the_estimate_does():
    # The bootstrap's standard error against the formula's, from 500 resamples: its own relative error is 3 %,
    # and the bound of 16 % is five of them.
    if INTERPRETED:
        pytest.skip("needs many rows")
    rows = log(6, n=4000)
    found = values(off_policy(**rows, n_resamples=500, seed=8))
    w = rows["target"] / rows["propensity"]
    error = np.std(w * rows["reward"]) / np.sqrt(4000)
    assert found.resampled_ips.std() == pytest.approx(error, rel=0.16)


def test_inputs_may_be_read_only_and_are_not_touched():
    rows = log(7)
    before = {name: array.copy() for name, array in rows.items()}
    for array in rows.values():
        array.flags.writeable = False
    off_policy(**rows, n_resamples=2, seed=0)
    for name, array in rows.items():
        np.testing.assert_array_equal(array, before[name])


def test_no_weight_at_all_gives_no_number():
    rows = log(8)
    rows["target"] = np.zeros(N_ROWS)
    sums = off_policy(**rows, n_resamples=2, seed=0)
    assert sums.effective_rows == 0.0
    assert sums.largest_share == 0.0
    assert np.isnan(values(sums).snips)


@pytest.mark.parametrize(
    ("name", "place", "value", "text"),
    [
        ("reward", 3, np.nan, r"reward must be finite, got nan at \[3\]"),
        ("dm", 0, np.inf, r"dm must be finite, got inf at \[0\]"),
        ("q_logged", 2, -np.inf, r"q_logged must be finite, got -inf at \[2\]"),
        ("propensity", 5, 0.0, r"propensity must be in \(0, 1\], got 0.0 at \[5\]"),
        ("propensity", 5, 1.5, r"propensity must be in \(0, 1\], got 1.5 at \[5\]"),
        ("target", 1, -0.1, r"target must be in \[0, 1\], got -0.1 at \[1\]"),
        ("target", 1, np.nan, r"target must be in \[0, 1\], got nan at \[1\]"),
    ],
)
def test_refuses_values_out_of_range(name, place, value, text):
    rows = log(9)
    rows[name][place] = value
    with pytest.raises(ContractError, match=text):
        off_policy(**rows, n_resamples=1, seed=0)


def test_refuses_arrays_that_do_not_fit():
    rows = log(10)
    with pytest.raises(ContractError, match="must have dtype float64, got float32"):
        off_policy(**rows | {"dm": rows["dm"].astype(np.float32)}, n_resamples=1, seed=0)
    with pytest.raises(ContractError, match="must have the same length"):
        off_policy(**rows | {"reward": rows["reward"][:-1]}, n_resamples=1, seed=0)
    with pytest.raises(ContractError, match="n_resamples must be >= 0, got -1"):
        off_policy(**rows, n_resamples=-1, seed=0)
    sums = [off_policy(**rows, n_resamples=b, seed=0) for b in (1, 2)]
    with pytest.raises(ContractError, match="n_resamples must be the same in both parts, got 1 and 2"):
        merge(*sums)
