import numpy as np
import pytest

from decider_core.clusters import add_by_cluster, count_marked, keyed_groups, mark_members, no_marks
from decider_core.contracts import ContractError
from decider_core.random import stream_key

STREAM = stream_key(3, 9)


def naive_sums(columns, clusters, n_clusters):
    sums = [[0.0] * len(columns) for _ in range(n_clusters)]
    for i, cluster in enumerate(clusters):
        for c, column in enumerate(columns):
            sums[cluster][c] += column[i]
    return sums


def test_sums_equal_their_definition_and_add_up_over_chunks():
    g = np.random.default_rng(0)
    columns, clusters = g.normal(size=(3, 500)), g.integers(0, 7, 500)
    ref = naive_sums(columns.tolist(), clusters.tolist(), 8)
    comp = np.zeros((8, 3))
    for rows in (slice(0, 123), slice(123, 123), slice(123, 500)):
        add_by_cluster(columns[:, rows], clusters[rows], comp)
    np.testing.assert_array_equal(comp, ref)


@pytest.mark.parametrize("wrong", [-1, 8])
def test_a_cluster_out_of_range_changes_nothing(wrong):
    sums = np.zeros((8, 1))
    with pytest.raises(ContractError, match=r"clusters must be in \[0, 8\)"):
        add_by_cluster(np.ones((1, 3)), np.array([0, 1, wrong]), sums)
    assert not sums.any()


def test_groups_are_even_and_depend_on_the_member_alone():
    keys = np.arange(8_000, dtype=np.uint64)
    groups = keyed_groups(STREAM, keys, 64)
    counts = np.bincount(groups, minlength=64)
    # Chi-square with 63 degrees of freedom: beyond 117.3 with probability 4e-5.
    assert np.square(counts - 125).sum() / 125 < 117.3
    np.testing.assert_array_equal(keyed_groups(STREAM, keys[::-1].copy(), 64), groups[::-1])
    assert len(np.unique(keyed_groups(STREAM, keys, 1))) == 1


@pytest.mark.parametrize("n_groups", [0, 3, 1 << 32])
def test_the_number_of_groups_is_a_power_of_two(n_groups):
    with pytest.raises(ContractError, match="n_groups must be a power of two"):
        keyed_groups(STREAM, np.zeros(1, np.uint64), n_groups)


@pytest.mark.parametrize("n", [1, 1000, 30_000])
def test_members_are_counted_whatever_their_rows(n):
    keys = np.random.default_rng(1).permutation(np.repeat(np.arange(n, dtype=np.uint64), 2))
    halves = no_marks(), no_marks()
    for marks, rows in zip(halves, np.array_split(keys, 2), strict=True):
        mark_members(STREAM, rows, marks)
    # The standard error is below sqrt(n * n / (2 * 2^24)); five of them, and 1 for rounding.
    assert abs(count_marked(halves[0] | halves[1]) - n) < 1 + 5 * n / np.sqrt(2.0 * (1 << 24))


def test_nobody_is_counted_as_nobody():
    assert count_marked(no_marks()) == 0.0
