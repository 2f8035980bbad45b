from dataclasses import replace

import numpy as np
import pytest
from known_world import effects, levels, simulated

from decider.errors import InvalidInput
from decider.learning import correlational, dr_learner
from decider.models import RawMap


def mapped(log):
    return RawMap.fit(log.x, log.feature_names).apply(log.x)


def test_it_learns_the_level_and_not_the_effect():
    log = simulated(0, n=20_000)
    sale, news = correlational(log, mapped(log))
    for code, arm in ((1, sale), (2, news)):
        assert arm.average == pytest.approx(levels(log.x)[:, code].mean(), abs=0.1)
    assert sale.average > effects(log.x)[:, 0].mean() + 1.0


def test_it_credits_a_message_with_what_happens_anyway():
    # A sale goes to members who are worth more anyway: the level's average over the rows that got it is above
    # the average over all members. The doubly robust learner is not misled.
    log = simulated(1, n=20_000, strength=0.7)
    sale, _ = correlational(log, mapped(log))
    assert sale.average > levels(log.x)[:, 1].mean() + 0.2
    causal, _ = dr_learner(log, mapped(log))
    assert causal.average == pytest.approx(effects(log.x)[:, 0].mean(), abs=0.1)


def test_an_arm_with_too_few_rows_or_one_reward_is_named():
    log = simulated(2, n=600)
    few = log.rows(np.flatnonzero((log.arm != 2) | (np.arange(600) < 30)))
    with pytest.raises(InvalidInput, match="arm 'news' must have at least 30 rows, got"):
        correlational(few, mapped(few))
    flat = replace(log, reward=np.where(log.arm == 1, 0.5, log.reward))
    with pytest.raises(
        InvalidInput, match=r"y:visit must vary among the rows of arm 'sale', got 0\.5 in all"
    ):
        correlational(flat, mapped(flat))
