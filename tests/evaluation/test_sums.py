import numpy as np
import pytest

from decider.evaluation.intervals import clustered_error
from decider.evaluation.members import MOST_MEMBERS, MemberCount
from decider.evaluation.rows import Terms, less
from decider.evaluation.sums import TermSums, estimates_of


def made(seed, n, rows_per_member=1):
    """A mean, and a ratio that shares a column with it, over members' rows that are strewn over the log."""
    g = np.random.default_rng(seed)
    keys = g.permutation(np.arange(n) // rows_per_member).astype(np.uint64)
    shared = g.normal(size=n)[keys.astype(np.int64)]
    above, below = 1.0 + shared + g.normal(size=n), g.uniform(0.5, 2.0, n)
    return {"mean": Terms(((above, None),)), "ratio": Terms(((above, below),))}, keys


def in_chunks(terms, keys, n_resamples=0, cuts=(0.3, 0.31, 0.9)):
    sums = TermSums(MemberCount.of(keys), n_resamples, 5)
    for rows in np.split(np.arange(len(keys)), [int(cut * len(keys)) for cut in cuts]):
        some = {
            id(c): c[rows] for each in terms.values() for part in each.parts for c in part if c is not None
        }
        cut = {
            name: Terms(tuple((some[id(a)], None if b is None else some[id(b)]) for a, b in each.parts))
            for name, each in terms.items()
        }
        sums.add(cut, keys[rows])
    return sums


@pytest.mark.parametrize("rows_per_member", [1, 4])
def test_chunks_give_what_the_definition_gives_of_all_rows(rows_per_member):
    terms, keys = made(0, 4000, rows_per_member)
    sums = in_chunks(terms, keys, 200)
    for name, each in terms.items():
        found = sums.estimate(name)
        assert found.value == pytest.approx(each.value, rel=1e-12)
        assert found.standard_error == pytest.approx(clustered_error(each.influence, keys), rel=1e-10)
        whole = estimates_of(terms, keys, 200, 5)[name]
        # Resampled sums are exact to about 1e-6 of their standard deviation.
        assert found.bootstrap == pytest.approx(whole.bootstrap, abs=1e-5 * found.standard_error)
        assert found.anytime == pytest.approx(whole.anytime, rel=1e-12)


def test_a_difference_has_the_error_of_the_difference():
    terms, keys = made(1, 3000, 3)
    apart = less(terms["ratio"], terms["mean"])
    found = in_chunks(terms, keys).estimate("ratio", "mean")
    assert found.value == pytest.approx(apart.value, rel=1e-12)
    assert found.standard_error == pytest.approx(clustered_error(apart.influence, keys), rel=1e-10)
    pairs = ("ratio", "mean"), ("mean", None)
    value, error = in_chunks(terms, keys).distance(*pairs)
    twice = less(apart, terms["mean"])
    assert value == pytest.approx(twice.value, rel=1e-12)
    assert error == pytest.approx(clustered_error(twice.influence, keys), rel=1e-10)


def test_groups_of_members_give_the_errors_of_members_whose_rows_are_strewn():
    # Beyond 65,536 members the error is that of groups: off by 1 / sqrt(2 * 65,536) = 0.28 % in one standard
    # deviation for normal sums, more for the tails here. 1.4 % is beyond four of them: 1e-4 for both.
    n = 3 * (MOST_MEMBERS + 14_464)
    terms, keys = made(2, n, 3)
    sums = in_chunks(terms, keys)
    for name, each in terms.items():
        value, error = sums.value_and_error(name)
        assert value == pytest.approx(each.value, rel=1e-11)
        assert error == pytest.approx(clustered_error(each.influence, keys), rel=0.014)
        rows_apart = clustered_error(each.influence, np.arange(n, dtype=np.uint64))
        assert error > 1.2 * rows_apart


def test_what_does_not_vary_has_no_error():
    n = 2 * MOST_MEMBERS
    sums = in_chunks({"always": Terms(((np.full(n, 0.7), None),))}, np.arange(n, dtype=np.uint64))
    value, error = sums.value_and_error("always")
    assert value == pytest.approx(0.7, rel=1e-12)
    assert error < 1e-12


def test_chunks_of_other_names_are_refused():
    terms, keys = made(3, 100)
    sums = TermSums(MemberCount.of(keys), 0, 0)
    sums.add(terms, keys)
    with pytest.raises(ValueError, match="the same names and columns in every chunk"):
        sums.add({"mean": terms["mean"]}, keys)


def test_without_rows_there_is_no_estimate():
    with pytest.raises(ValueError, match="rows must have been added"):
        TermSums(MemberCount(), 0, 0).estimate("mean")
