"""Counts over sets, against their plain twin."""

import naive_counts as naive
import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.counts import count_pairs, count_sets

pytestmark = pytest.mark.core
TOPIC = np.array([0, 0, 1, 2, 2, 2, -1, -1], np.int32)


def random_sets(n, most=4, seed=0):
    """Sets of no, one, ... messages, each candidate once, empty places anywhere."""
    rng = np.random.default_rng(seed)
    sets = np.argsort(rng.random((len(TOPIC), n)), axis=0)[:most].astype(np.int16)
    sets[rng.random(sets.shape) < 0.3] = -1
    return sets


@pytest.mark.parametrize("most", [1, 2, 4, 8])
def test_pairs(most):
    sets = random_sets(300, most)
    found = count_pairs(sets, TOPIC)
    assert tuple(each.tolist() for each in found) == naive.count_pairs(sets, TOPIC)
    # Some lines of a longer table, as the learners hand in.
    some = count_pairs(sets[:, 100:200], TOPIC)
    assert some.all.tolist() == found.all[100:200].tolist()


def test_pairs_of_nobody():
    assert count_pairs(np.full((3, 0), -1, np.int16), TOPIC).all.shape == (0,)


def test_sets():
    sets = random_sets(300)
    stratum = np.random.default_rng(1).integers(0, 3, 300).astype(np.uint8)
    found = count_sets(sets, stratum, len(TOPIC), 3)
    assert tuple(each.tolist() for each in found) == naive.count_sets(sets, stratum, len(TOPIC), 3)


def test_what_lies_outside_is_refused():
    sets = np.array([[0, 8]], np.int16)
    with pytest.raises(ContractError, match="sets must be in"):
        count_pairs(sets, TOPIC)
    with pytest.raises(ContractError, match="topic must"):
        count_pairs(sets[:, :1], TOPIC.astype(np.int64))
