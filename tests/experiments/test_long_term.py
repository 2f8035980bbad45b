"""Weeks, surrogates, and the alarm when early and late effects disagree in sign."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from small_experiments import START, outcomes, with_weeks

from decider.errors import InvalidInput
from decider.experiments import Looks, fit_surrogates, read_out
from decider.experiments.spec import Metric
from decider.experiments.surrogates import index_effect
from decider.simulation.long_run import LongRunSpec, live

N = 20_000


def lived(slope, n_weeks=12, seed=0):
    """Members whose weekly effect goes along a line from 0.2 on."""
    g = np.random.default_rng(seed)
    cells = 1 + (g.random(N) < 0.5).astype(np.uint8)
    effect = 0.2 + slope * np.arange(n_weeks)
    weeks = g.poisson(2.0, (n_weeks, N)) + effect[:, None] * (cells == 2)
    return cells, weeks


def read(cells, weeks, **asked):
    made = with_weeks(**asked)
    return read_out(made, outcomes(cells, weeks.sum(axis=0), weekly={"plays": weeks})).long_term


def test_weeks_and_trend_are_found():
    # Errors of a weekly effect are 0.02: off by six of them has probability 2e-9.
    (found,) = read(*lived(-0.01))
    assert [week.value for week in found.weeks] == pytest.approx(0.2 - 0.01 * np.arange(12), abs=0.12)
    assert found.trend.value == pytest.approx(-0.01, abs=6 * found.trend.standard_error)
    assert found.trend.sign == -1
    assert found.short.value == pytest.approx(0.74, abs=6 * found.short.standard_error)
    assert found.alarms == ()
    assert found.index is None


def test_the_alarm_fires_when_late_weeks_turn():
    (found,) = read(*lived(-0.04))
    (alarm,) = found.alarms
    # The weekly effect crosses 0 in week 5; its errors let the first two weeks below it be seen some weeks later.
    assert 7 <= alarm.week <= 11
    assert alarm.by == "measured"
    assert alarm.in_time
    assert alarm.fired_micros == int(START.timestamp() * 1e6) + alarm.week * 7 * 86_400_000_000


def test_too_few_weeks_say_so():
    (found,) = read(*lived(0.0, n_weeks=2))
    assert "needs 4 whole weeks" in found.short.refused
    assert "needs 6 whole weeks" in found.late.refused
    assert "needs 3 whole weeks" in found.trend.refused


def test_the_index_has_the_error_of_members_and_of_history():
    # 300 histories and experiments: 95 % intervals at one look cover in all but 27 with probability above 0.9999.
    g, covered, looked = np.random.default_rng(3), 0, 0
    slopes, effect = np.array([1.5, -2.0]), np.array([0.1, 0.3])
    for _ in range(300):
        past = g.normal(size=(2, 1_000))
        index = fit_surrogates(("a", "b"), past, slopes @ past + g.normal(size=1_000))
        cells = (g.random(2_000) < 0.5).astype(np.uint8)
        now = g.normal(size=(2, 2_000)) + effect[:, None] * cells
        found = index_effect(index, cells, now, 1, 0, 2, Looks(first_look=100))
        covered += abs(found.value - slopes @ effect) < 1.96 * found.standard_error
        looked += found.interval.low <= slopes @ effect <= found.interval.high
    assert 270 <= covered <= 298
    assert looked >= 294


def test_history_that_tells_nothing_gives_no_number():
    g = np.random.default_rng(4)
    index = fit_surrogates(("a",), g.normal(size=(1, 2_000)), g.normal(size=2_000))
    cells = (g.random(2_000) < 0.5).astype(np.uint8)
    found = index_effect(index, cells, g.normal(size=(1, 2_000)), 1, 0, 2, Looks())
    assert "must tell 1% of the outcome's variance" in found.refused


@pytest.mark.parametrize(
    ("surrogates", "outcome", "text"),
    [
        (np.ones((1, 2_000)), np.ones(2_000), "must each say something of their own"),
        (np.tile(np.arange(2_000.0), (2, 1)), np.ones(2_000), "must each say something of their own"),
        (np.ones((1, 10)), np.ones(10), "must hold at least 1000 members, got 10"),
        (np.ones((3, 2_000)), np.ones(2_000), "must have"),
        (np.full((1, 2_000), np.nan), np.ones(2_000), "must be finite"),
    ],
)
def test_wrong_history_is_refused(surrogates, outcome, text):
    names = tuple("ab"[: 1 if surrogates.shape[0] != 2 else 2])
    with pytest.raises(InvalidInput, match=text):
        fit_surrogates(names, surrogates, outcome)


def test_more_messages_win_the_short_test_lose_the_year_and_the_alarm_comes_in_time():
    # The numbers are far from their errors: the effects are 1.9 (0.05) and -10 (0.7) visits, the year's -15 (0.3).
    world, few, many = LongRunSpec(), 2, 6
    volume = np.random.default_rng(0).integers(1, 8, N)
    past = live(world, volume, 52, seed=1)
    names = ("plays", "delivered", "unsubscribed")

    def early(life):
        return np.stack([part[:4].sum(axis=0) for part in (life.visits, life.delivered, life.opted_out)])

    index = fit_surrogates(names, early(past), past.visits.sum(axis=0))
    cells = 1 + (np.random.default_rng(2).random(N) < 0.5).astype(np.uint8)
    year = live(world, np.where(cells == 2, many, few), 52, seed=3)
    made = with_weeks(short_weeks=4, surrogates=list(names))
    made = made.__class__(
        **{field: getattr(made, field) for field in made.__struct_fields__}
        | {
            "metric": [Metric(name="plays", role="primary"), *(Metric(name=name) for name in names[1:])],
            "decision": START + datetime.timedelta(weeks=8),
        }
    )
    weekly = dict(
        zip(names, (part[:8] for part in (year.visits, year.delivered, year.opted_out)), strict=True)
    )
    seen = outcomes(cells, weekly["plays"].sum(axis=0), weekly=weekly)
    seen = seen.__class__(cells, dict.fromkeys(names, seen.metrics["plays"]), seen.triggered, weekly=weekly)
    look = read_out(made, seen, index)
    (found,) = look.long_term
    assert look.comparisons[0].effect.sign == 1
    assert found.short.sign == 1
    assert found.index.sign == -1
    assert found.trend.sign == -1
    (alarm,) = found.alarms
    assert (alarm.week, alarm.by, alarm.in_time) == (4, "forecast", True)
    assert "forecast, week 4" in look.warnings[0]
    whole = year.visits[:, cells == 2].sum(axis=0).mean() - year.visits[:, cells == 1].sum(axis=0).mean()
    assert whole < -10
