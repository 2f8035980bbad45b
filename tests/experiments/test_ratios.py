"""Sample ratios and guardrails: when they fire, and when they must not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from small_experiments import experiment, outcomes

from decider.experiments.ratios import guardrails, sample_ratios
from decider.experiments.spec import Guardrail

DAY = 86_400_000_000


def days(n, *cells):
    """Counts of n looks, nobody held out."""
    return np.stack([np.zeros(n), *(np.broadcast_to(cell, n) for cell in cells)], axis=1).astype(float)


def looked(triggered, **more):
    made = outcomes(np.ones(1, np.uint8), np.ones(1))
    times = DAY * np.arange(1, len(triggered) + 1)
    return made.__class__(made.cells, made.metrics, triggered, look_micros=times, **more)


def by_stage(tests):
    return {test.stage: test for test in tests}


def test_even_cells_are_even():
    found = by_stage(sample_ratios(experiment(), looked(days(20, 1_000, 1_003))))
    assert not found["triggered"].is_wrong
    assert found["triggered"].counts == (0, 20_000, 20_060)
    assert found["triggered"].expected == pytest.approx((0, 20_030, 20_030))
    assert found["assigned"].p_value is None
    assert found["assigned"].untold
    assert found["delivered"].untold


def test_a_lost_hundredth_is_caught_and_dated():
    found = by_stage(sample_ratios(experiment(), looked(days(60, 10_000, 9_800))))["triggered"]
    assert found.is_wrong
    assert 5 * DAY < found.fired_micros < 60 * DAY


def test_assignment_is_tested_over_all_members():
    found = by_stage(sample_ratios(experiment(), looked(days(1, 10, 10), assigned=np.array([0, 4e5, 3.9e5]))))
    assert found["assigned"].is_wrong
    assert not found["triggered"].is_wrong


def test_a_policy_that_sends_less_is_no_fault_but_lost_messages_are():
    sent = days(30, 1_000, 200)
    well = looked(days(30, 1_000, 1_000), sent=sent, delivered=sent * 0.9)
    assert not by_stage(sample_ratios(experiment(), well))["delivered"].is_wrong
    lost = looked(days(30, 1_000, 1_000), sent=sent, delivered=days(30, 900, 120))
    assert by_stage(sample_ratios(experiment(), lost))["delivered"].is_wrong


def test_the_guardrail_stops_a_cell_that_harms_more():
    made = looked(days(30, 1_000, 1_000), harmed={"opt-outs": days(30, 2, 5)})
    (found,) = guardrails(experiment(), made)
    assert found.must_stop
    assert found.fired_micros < 30 * DAY
    assert (found.cell, found.harmed, found.base_harmed, found.members) == ("few", 150, 60, 30_000)


@pytest.mark.parametrize(("harm", "allowed"), [(2, 0.0), (1, 0.0), (5, 2.0), (0, 0.0)])
def test_it_leaves_alone_what_is_borne(harm, allowed):
    guarded = experiment(guardrail=[Guardrail(name="opt-outs", events=[], allowed_increase=allowed)])
    (found,) = guardrails(guarded, looked(days(30, 1_000, 1_000), harmed={"opt-outs": days(30, 2, harm)}))
    assert not found.must_stop
    assert found.fired_micros is None


def test_it_seldom_stops_a_cell_for_nothing():
    # At alpha 0.05, of 300 streams more than 36 has probability 3e-6 at most; looks at every harmed member or so.
    g, stopped = np.random.default_rng(0), 0
    guarded = experiment(guardrail=[Guardrail(name="opt-outs", events=[], alpha=0.05)])
    for _ in range(300):
        harmed = days(200, g.poisson(1.0, 200), g.poisson(1.0, 200))
        (found,) = guardrails(guarded, looked(days(200, 500, 500), harmed={"opt-outs": harmed}))
        stopped += found.must_stop
    assert stopped <= 36


def test_cells_share_alpha():
    wide = msgspec.structs.replace(
        experiment(), cell=[msgspec.structs.replace(experiment().cell[0], name=name, share=0.25) for name in
                            ("today", "few", "none", "many")]
    )  # fmt: skip
    made = looked(days(1, 9, 9, 9, 9), harmed={"opt-outs": days(1, 1, 1, 1, 1)})
    assert {test.alpha for test in guardrails(wide, made)} == {0.01 / 3}
