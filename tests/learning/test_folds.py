import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.learning import fold_of, split

KEYS = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)


def test_all_rows_of_a_member_share_a_fold_and_a_half_whatever_the_order():
    keys = np.repeat(KEYS[:50], 3)[np.random.default_rng(1).permutation(150)]
    for result in (fold_of(keys, 5, 7), split(keys, 7, 0.5)):
        by_member = {}
        for key, value in zip(keys.tolist(), result.tolist(), strict=True):
            assert by_member.setdefault(key, value) == value
    np.testing.assert_array_equal(fold_of(keys[::-1], 5, 7), fold_of(keys, 5, 7)[::-1])


@pytest.mark.parametrize("n_folds", [2, 5])
def test_folds_are_of_even_size(n_folds):
    # Chi-square bound at probability 1e-6 for 1 and 4 degrees of freedom.
    counts = np.bincount(fold_of(KEYS, n_folds, 3), minlength=n_folds)
    assert len(counts) == n_folds
    expected = len(KEYS) / n_folds
    assert ((counts - expected) ** 2 / expected).sum() < {2: 23.9, 5: 33.4}[n_folds]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_half_has_its_share(share):
    # Five standard errors: a false alarm has probability 6e-7.
    error = np.sqrt(share * (1 - share) / len(KEYS))
    assert abs(split(KEYS, 3, share).mean() - share) < 5 * error


def test_another_seed_is_another_split_and_halves_say_nothing_of_folds():
    # Agreement of independent splits is 1/2; five standard errors, false alarm 6e-7 each.
    halves = split(KEYS, 3, 0.5)
    bound = 5 * 0.5 / np.sqrt(len(KEYS))
    assert abs((halves == split(KEYS, 4, 0.5)).mean() - 0.5) < bound
    assert abs((halves == (fold_of(KEYS, 2, 3) == 0)).mean() - 0.5) < bound


def test_more_training_keeps_the_members_that_were_in_training():
    few, many = split(KEYS, 3, 0.3), split(KEYS, 3, 0.6)
    assert not (few & ~many).any()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(InvalidInput, match=r"share must be in \(0, 1\)"):
        split(KEYS, 0, share)


def test_one_fold_is_refused():
    with pytest.raises(InvalidInput, match="folds must be >= 2, got 1"):
        fold_of(KEYS, 1, 0)
