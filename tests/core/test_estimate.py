import naive_estimate as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.estimate import COUNT, WEIGHT, merge, off_policy, off_policy_actions, values
from decider_core.resample import merge_sums, poisson_counts, resample_sums

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


def near(found, expected, spread):
    """Resampled sums are made in float32: hold them to 3e-6 of the spread that is given for each column."""
    assert (np.abs(found - expected) <= 3e-6 * np.asarray(spread)[:, None]).all()


@pytest.mark.parametrize("seed", [0, -3, 2**63 + 5])
@pytest.mark.parametrize("n_resamples", [0, 1, 17])
def test_equals_its_definition(seed, n_resamples):
    rows = log(1, n=30, n_members=12)
    totals, resampled, squares, largest = naive.off_policy(
        *rows.values(), n_resamples=n_resamples, seed=seed % 2**64
    )
    comp = off_policy(**rows, n_resamples=n_resamples, seed=seed)
    np.testing.assert_allclose(comp.totals, totals, rtol=1e-12)
    np.testing.assert_array_equal(comp.resampled[COUNT], resampled[COUNT])
    near(comp.resampled, np.reshape(resampled, (4, n_resamples)), np.ones(4) * 20)
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
    near(parts.resampled, whole.resampled, [1, 100, 300, 300])
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
def test_counts_have_the_poisson_law():
    # Chi-square of counts 0..5 and more over 200,000 members: 5 degrees of freedom, bound at 1e-6.
    counts = poisson_counts(np.arange(200_000, dtype=np.uint64), 8, 4)
    law = np.array([0.36787944, 0.36787944, 0.18393972, 0.06131324, 0.01532831, 0.00365985])
    for drawn in counts:
        found = np.bincount(np.minimum(drawn, 5).astype(int), minlength=6)
        assert ((found - law * 200_000) ** 2 / (law * 200_000)).sum() < 36.0


@pytest.mark.skipif(INTERPRETED, reason="a million counts take minutes without the compiler")
@pytest.mark.parametrize("apart", [1, 2, 3, 64, 127])
def test_counts_of_two_resamples_are_independent(apart):
    # A four by four table (0, 1, 2, more) over 200,000 members: 15 degrees of freedom, bound at 1e-6.
    counts = np.minimum(poisson_counts(np.arange(200_000, dtype=np.uint64), apart + 1, 5), 3).astype(int)
    found = np.bincount(counts[0] * 4 + counts[-1], minlength=16)
    law = np.array([0.36787944, 0.36787944, 0.18393972, 0.08030140])
    expected = np.outer(law, law).ravel() * 200_000
    assert ((found - expected) ** 2 / expected).sum() < 56.5


def test_the_law_has_mean_one():
    assert sum(naive.tails()) == 65536


@pytest.mark.parametrize(
    ("n_rows", "n_columns"), [(1, 1), (7, 2), (8, 3), (257, 1), (600, 2), (30, 12), (30, 14)]
)
def test_resampled_columns_equal_their_definition(n_rows, n_columns):
    g = np.random.default_rng(n_rows)
    # A large mean beside a small spread, which float32 alone would lose.
    columns = g.normal(1e6, 1.0, (n_columns, n_rows))
    keys = g.integers(0, 40, n_rows).astype(np.uint64)
    totals, counts, resampled = naive.resample_sums(columns, keys, 5, 3)
    comp = resample_sums(columns, keys, 5, 3)
    np.testing.assert_allclose(comp.totals, totals, rtol=1e-12)
    np.testing.assert_array_equal(comp.counts, counts)
    np.testing.assert_allclose(comp.resampled, resampled, rtol=1e-12, atol=3e-6 * np.sqrt(n_rows) * 40)
    assert comp.n_rows == n_rows


def test_resampled_parts_add_up():
    g = np.random.default_rng(0)
    columns, keys = g.normal(size=(2, N_ROWS)), g.integers(0, 30, N_ROWS).astype(np.uint64)
    whole = resample_sums(columns, keys, 4, 1)
    parts = merge_sums(*(resample_sums(columns[:, s], keys[s], 4, 1) for s in (slice(0, 9), slice(9, None))))
    np.testing.assert_array_equal(parts.counts, whole.counts)
    np.testing.assert_allclose(parts.totals, whole.totals, rtol=1e-12)
    near(parts.resampled, whole.resampled, [50, 50])
    with pytest.raises(ContractError, match="must have the same shape in both parts"):
        merge_sums(whole, resample_sums(columns, keys, 5, 1))


def test_the_smallest_and_largest_numbers_go_through():
    columns = np.array([[1e-320, -1e-320, 0.0], [1e300, -1e300, 5e299]])
    keys = np.arange(3, dtype=np.uint64)
    comp = resample_sums(columns, keys, 16, 2)
    assert np.isfinite(comp.resampled).all()
    counts = poisson_counts(keys, 16, 2)
    np.testing.assert_allclose(comp.resampled[1], counts.astype(float) @ columns[1], atol=1e-5 * 1e300)


def actions(seed, n=N_ROWS, n_actions=7):
    """Random arguments of off_policy_actions but the number of resamples and the seed."""
    g = np.random.default_rng(seed)
    target = g.dirichlet(np.ones(n_actions), n).astype(np.float32)
    return {
        "reward": g.normal(1.0, 2.0, n),
        "propensity": g.uniform(0.05, 1.0, n),
        "arm": g.integers(0, n_actions, n),
        "target": target,
        "q_hat": g.normal(size=(n, n_actions)).astype(np.float32),
        "member_keys": g.integers(0, 50, n).astype(np.uint64),
    }


@pytest.mark.parametrize("n_actions", [1, 3, 4, 16, 32, 37])
def test_sums_over_actions_equal_their_definition(n_actions):
    rows = actions(1, n=30, n_actions=n_actions)
    totals, resampled, squares, largest = naive.off_policy_actions(*rows.values(), n_resamples=3, seed=2)
    comp = off_policy_actions(**rows, n_resamples=3, seed=2)
    np.testing.assert_allclose(comp.totals, totals, rtol=1e-12)
    near(comp.resampled, np.array(resampled), np.full(4, 50))
    assert comp.squared_weight == pytest.approx(squares)
    assert comp.largest_weight == pytest.approx(largest)


@pytest.mark.parametrize(
    ("name", "place", "value", "text"),
    [
        ("reward", 3, np.inf, r"reward must be finite, got inf at \[0\] of row 3"),
        ("propensity", 3, 0.0, r"propensity must be in \(0, 1\], got 0.0 at \[0\] of row 3"),
        ("propensity", 3, np.nan, r"propensity must be in \(0, 1\], got nan at \[0\] of row 3"),
        ("arm", 3, 7, r"arm must be in \[0, 6\], got 7 at \[0\] of row 3"),
        ("arm", 3, -1, r"arm must be in \[0, 6\], got -1 at \[0\] of row 3"),
        ("q_hat", (3, 6), np.nan, r"q_hat must be finite, got nan at \[6\] of row 3"),
        ("q_hat", (3, 0), np.inf, r"q_hat must be finite, got inf at \[0\] of row 3"),
        ("target", (3, 2), -0.5, r"target must be in \[0, 1\], got -0.5 at \[2\] of row 3"),
        ("target", (3, 2), np.nan, r"target must be in \[0, 1\], got nan at \[2\] of row 3"),
        ("target", 3, 0.1, r"target must add up to 1 within 1e-05, got 0.7.* at row 3"),
    ],
)
def test_an_action_row_that_breaks_a_rule_is_named(name, place, value, text):
    rows = actions(2)
    rows[name][place] = value
    with pytest.raises(ContractError, match=text):
        off_policy_actions(**rows, n_resamples=1, seed=0)


@pytest.mark.parametrize("place", [0, 15, 16, 31, 32, 36])
def test_a_wrong_number_is_found_wherever_it_stands(place):
    for name, value in (("q_hat", np.nan), ("q_hat", -np.inf), ("target", np.nan), ("target", 1.5)):
        rows = actions(2, n_actions=37)
        rows[name][3, place] = value
        with pytest.raises(ContractError, match=rf"{name} must be .*\[{place}\] of row 3"):
            off_policy_actions(**rows, n_resamples=1, seed=0)


@pytest.mark.skipif(INTERPRETED, reason="there is one form of the count then")
def test_sums_count_as_single_counts_do_at_every_number():
    # Summed counts come from vectors of resamples, single ones from one number at a time: over 64 members of
    # 2^13 resamples each, all of the 2^16 numbers that decide are among them but for a few (e^-8 of them).
    keys = np.arange(64, dtype=np.uint64)
    counts = poisson_counts(keys, 2**13, 9)
    for place, key in enumerate(keys):
        alone = resample_sums(np.ones((1, 1)), keys[place : place + 1], 2**13, 9)
        np.testing.assert_array_equal(alone.counts, counts[:, place], err_msg=str(key))
    assert counts.max() == 7


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
    with pytest.raises(ContractError, match=r"n_resamples must be in \[0, 131072\], got -1"):
        off_policy(**rows, n_resamples=-1, seed=0)
    sums = [off_policy(**rows, n_resamples=b, seed=0) for b in (1, 2)]
    with pytest.raises(ContractError, match="n_resamples must be the same in both parts, got 1 and 2"):
        merge(*sums)
