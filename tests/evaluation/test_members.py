import numpy as np
import pytest

from decider.evaluation import members as module
from decider.evaluation.members import MOST_MEMBERS, MemberCount


def counted(n, n_chunks=3, rows_per_member=2):
    count = MemberCount()
    for keys in np.array_split(np.tile(np.arange(n, dtype=np.uint64), rows_per_member), n_chunks):
        count.add(keys)
    return count


def test_few_members_are_counted_exactly_and_are_clusters_of_their_own():
    count = counted(1000)
    clusters = count.clusters(5)
    assert (count.n, clusters.n, count.is_exact) == (1000, 1000, True)
    keys = np.array([17, 3, 17, 999], np.uint64)
    assert clusters.of(keys).tolist() == [17, 3, 17, 999]


def test_many_members_are_counted_closely_and_are_put_in_groups():
    count = counted(MOST_MEMBERS + 100_000)
    # A relative standard error of 2e-4; five of them.
    assert count.n == pytest.approx(MOST_MEMBERS + 100_000, rel=1e-3)
    clusters = count.clusters(5)
    assert (clusters.n, clusters.known, count.is_exact) == (MOST_MEMBERS, None, False)
    places = clusters.of(np.arange(100_000, dtype=np.uint64))
    assert places.min() >= 0
    assert places.max() < MOST_MEMBERS


def test_the_very_last_member_that_is_known():
    assert counted(MOST_MEMBERS).clusters(1).known is not None
    assert counted(MOST_MEMBERS + 1).clusters(1).known is None


def test_more_columns_have_fewer_groups():
    count = counted(MOST_MEMBERS + 1)
    assert [count.clusters(n).n for n in (1, 256, 257, 1024, 10**6)] == [
        1 << 16,
        1 << 16,
        1 << 15,
        1 << 14,
        1 << 12,
    ]
    # Members who are known are put in groups too where their sums would not fit.
    assert counted(20_000).clusters(1024).known is None


def test_nobody():
    assert MemberCount().n == 0
    assert module.MemberCount.of(np.empty(0, np.uint64)).n == 0
