"""Assignment: planned shares, no memory of batches, a holdout that lasts."""

from __future__ import annotations

import numpy as np
from scipy import stats
from small_experiments import experiment

from decider.experiments.spec import Cell

KEYS = np.arange(200_000, dtype=np.uint64) * np.uint64(7919)
THREE = [
    Cell(name="today", policy="a", share=0.5),
    Cell(name="few", policy="b", share=0.3),
    Cell(name="none", policy="c", share=0.2),
]


def test_cells_come_in_their_shares():
    # A chi-square test at 1e-6.
    made = experiment(cell=THREE, holdout=0.05)
    counts = np.bincount(made.assign(KEYS), minlength=4)
    assert stats.chisquare(counts, np.array(made.shares) * KEYS.size).pvalue > 1e-6


def test_a_member_keeps_its_cell_whoever_else_comes():
    made = experiment(cell=THREE, holdout=0.05)
    cells = made.assign(KEYS)
    order = np.random.default_rng(0).permutation(KEYS.size)
    np.testing.assert_array_equal(made.assign(KEYS[order]), cells[order])
    assert [int(made.assign(KEYS[i : i + 1])[0]) for i in range(50)] == cells[:50].tolist()


def test_the_holdout_lasts_and_the_cells_are_dealt_anew():
    # Independence by chi-square at 1e-6, over the members of neither holdout.
    first, second = (experiment(cell=THREE, holdout=0.05, salt=salt).assign(KEYS) for salt in ("a", "b"))
    np.testing.assert_array_equal(first == 0, second == 0)
    table = np.histogram2d(first[first > 0], second[first > 0], bins=3)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-6
    larger = experiment(cell=THREE, holdout=0.1).assign(KEYS)
    assert (larger[first == 0] == 0).all()


def test_without_a_holdout_nobody_is_held_out():
    assert experiment().assign(KEYS).min() == 1
