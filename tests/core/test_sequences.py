"""Confidence sequences and evidence against shares: their definitions, and how often they are wrong."""

from __future__ import annotations

import math

import naive_sequences as naive
import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.sequences import sequence_half_width, sequence_p_value, share_evidence


def test_the_p_value_is_that_of_the_mixture():
    n, tuned_for, level = 5_000, 20_000, 0.95
    alpha = 1 - level
    information = n / tuned_for * (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1)
    for z in (0.0, 1.5, 3.0, 4.5):
        ref = min(1.0, 1 / naive.mixture_ratio(z, information))
        assert sequence_p_value(z, n, tuned_for, level) == pytest.approx(ref, rel=1e-6)


@pytest.mark.parametrize("n", [10, 1_000, 100_000])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_at_the_end_of_the_sequence_p_is_alpha(n, level):
    z = sequence_half_width(1.0, n, 30_000, level)
    assert sequence_p_value(z, n, 30_000, level) == pytest.approx(1 - level, rel=1e-9)


def test_it_is_about_narrowest_where_it_is_tuned():
    at = 10_000
    tuned = sequence_half_width(1.0, at, at)
    assert all(tuned <= sequence_half_width(1.0, at, other) for other in (100, 1_000, 100_000, 10**6))


def test_several_errors_at_once():
    errors = np.array([0.1, 0.2])
    got = sequence_half_width(errors, 400)
    assert got == pytest.approx([sequence_half_width(0.1, 400), sequence_half_width(0.2, 400)])


def test_with_lasting_shares_it_is_the_bayes_factor_at_every_look():
    g = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.2])
    counts = g.multinomial(60, [0.4, 0.3, 0.3], size=4).astype(float)
    got = share_evidence(counts, np.tile(shares, (4, 1)), 7.0)
    for look in range(4):
        so_far = counts[: look + 1].sum(axis=0).astype(int).tolist()
        assert got[look] == pytest.approx(naive.bayes_factor(so_far, shares.tolist(), 7.0), rel=1e-9)


def test_a_cell_that_should_be_empty_is_infinite_evidence():
    counts = np.array([[3.0, 0.0], [2.0, 1.0], [1.0, 0.0]])
    got = share_evidence(counts, np.tile([1.0, 0.0], (3, 1)), 5.0)
    assert got[0] == pytest.approx(0.0, abs=1e-12)
    assert got[1] == got[2] == math.inf


def test_it_is_seldom_wrong_and_catches_what_is():
    # Under the shares P(E ever >= 20) <= 0.05: more than 40 of 400 streams has probability 3e-5 at most.
    g = np.random.default_rng(1)
    n_looks, n_streams = 100, 400
    even = np.full((n_looks, 2), 0.5)
    wrong = caught = 0
    for _ in range(n_streams):
        counts = g.multinomial(1_000, [0.5, 0.5], size=n_looks).astype(float)
        wrong += share_evidence(counts, even, 1_000.0).max() >= math.log(20)
    for _ in range(20):
        # z = 9.5 at the end on average: one of 20 streams missed has probability below 1e-6.
        counts = g.multinomial(1_000, [0.515, 0.485], size=n_looks).astype(float)
        caught += share_evidence(counts, even, 1_000.0).max() >= math.log(20)
    assert wrong <= 40
    assert caught == 20


def test_shares_that_move_with_the_looks_are_not_evidence():
    # As above: of 200 streams more than 24 has probability 5e-5 at most. Drawn without replacement.
    g = np.random.default_rng(2)
    wrong = 0
    for _ in range(200):
        sent = g.integers(50, 500, size=(60, 2))
        delivered = g.binomial(sent, 0.9).astype(float)
        shares = sent / sent.sum(axis=1, keepdims=True)
        wrong += share_evidence(delivered, shares, 1_000.0).max() >= math.log(20)
    assert wrong <= 24
    lost = g.binomial(sent * 20, [0.9, 0.8]).astype(float)
    assert share_evidence(lost, shares, 1_000.0)[-1] > math.log(1000)


@pytest.mark.parametrize(
    ("counts", "shares", "text"),
    [
        ([[0.5, 1.0]], [[0.5, 0.5]], "counts must be whole numbers"),
        ([[-1.0, 1.0]], [[0.5, 0.5]], "counts must be whole numbers"),
        ([[1.0, 1.0]], [[0.5, 0.6]], "shares must be >= 0 and sum to 1"),
        ([[1.0, np.nan]], [[0.5, 0.5]], "counts must be finite"),
        ([[1.0, 1.0]], [[0.5, 0.25, 0.25]], "shares must have shape"),
    ],
)
def test_wrong_input_is_refused(counts, shares, text):
    with pytest.raises(ContractError, match=text):
        share_evidence(np.array(counts), np.array(shares), 10.0)
    with pytest.raises(ContractError, match="concentration"):
        share_evidence(np.ones((1, 1)), np.ones((1, 1)), 0.0)
