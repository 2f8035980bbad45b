"""Effects week by week, where they are going, and the alarm when late and early ones disagree in sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.experiments.effects import Effect, Looks, column_of, metric_effect, refused
from decider.experiments.outcomes import Outcomes, moments_of
from decider.experiments.spec import WEEK_MICROS, Experiment, LongTerm
from decider.experiments.surrogates import SurrogateIndex, index_effect

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alarm:
    """Early and late effects with opposite signs, both beyond chance.

    Parameters
    ----------
    week
        Whole weeks after the start when it could first be seen.
    fired_micros
        The end of that week.
    in_time
        Whether that is before the choice is due.
    by
        ``measured`` in the latest weeks, or ``forecast`` by the surrogate index.
    says
        One sentence.
    """

    week: int
    fired_micros: int
    in_time: bool
    by: str
    says: str


@dataclass(frozen=True)
class LongTermReadOut:
    """One cell against the control, over the weeks.

    Parameters
    ----------
    metric, cell
        Names.
    weeks
        The effect in each whole week since the start.
    short
        The effect on the sum over the short weeks.
    late
        The effect on the sum over the latest weeks.
    trend
        What a week adds to the weekly effect (a line through all weeks).
    index
        The effect on the forecast outcome; None without surrogates or history.
    r_squared
        Share of the outcome's variance that the forecast told in history; None likewise.
    alarms
        What fired, the first first.
    """

    metric: str
    cell: str
    weeks: tuple[Effect, ...]
    short: Effect
    late: Effect
    trend: Effect
    index: Effect | None
    r_squared: float | None
    alarms: tuple[Alarm, ...]


def long_term(
    experiment: Experiment, outcomes: Outcomes, looks: Looks, index: SurrogateIndex | None = None
) -> list[LongTermReadOut]:
    """Read the long-term effect of every cell; nothing where the experiment asks for none or there is no time.

    Alarms are looked for at the end of every week, in the weeks that had passed then. Both intervals are confidence
    sequences at `looks.level`: if the two effects have one sign, an alarm has the probability of an interval that
    misses, at most.
    """
    asked = experiment.long_term
    if asked is None or asked.metric not in outcomes.weekly:
        return []
    base = experiment.code(experiment.control)
    weekly = outcomes.weekly[asked.metric]
    return [
        _of_cell(experiment, asked, outcomes, weekly, code, base, looks, index)
        for code in range(1, len(experiment.cell_names))
        if code != base
    ]


def _of_cell(
    experiment: Experiment,
    asked: LongTerm,
    outcomes: Outcomes,
    weekly: Floats,
    code: int,
    base: int,
    looks: Looks,
    index: SurrogateIndex | None,
) -> LongTermReadOut:
    n_weeks, n_cells = len(weekly), len(experiment.cell_names)

    def effect_of(column: Floats) -> Effect:
        return metric_effect(moments_of(outcomes.cells, [column], n_cells), code, base, looks)

    moments = moments_of(outcomes.cells, list(weekly), n_cells) if n_weeks else None
    weeks = tuple(
        metric_effect(column_of(moments, week), code, base, looks) for week in range(n_weeks) if moments
    )
    enough = n_weeks >= asked.short_weeks
    too_early = refused(f"needs {asked.short_weeks} whole weeks since the start, got {n_weeks}")
    short = effect_of(weekly[: asked.short_weeks].sum(axis=0)) if enough else too_early
    forecast = None
    if index is not None:
        forecast = too_early
        if enough:
            surrogates = surrogates_of(outcomes, asked)
            forecast = index_effect(index, outcomes.cells, surrogates, code, base, n_cells, looks)
    late, alarms = refused(f"needs {asked.short_weeks + asked.late_weeks} whole weeks, got {n_weeks}"), []
    for week in range(asked.short_weeks, n_weeks + 1):
        if week >= asked.short_weeks + asked.late_weeks:
            late = effect_of(weekly[week - asked.late_weeks : week].sum(axis=0))
            alarms += _alarm(experiment, week, "measured", short, late)
        if forecast is not None:
            alarms += _alarm(experiment, week, "forecast", short, forecast)
    first = {alarm.by: alarm for alarm in reversed(alarms)}
    return LongTermReadOut(
        metric=asked.metric,
        cell=experiment.cell_names[code],
        weeks=weeks,
        short=short,
        late=late,
        trend=effect_of(_slope(n_weeks) @ weekly) if n_weeks > 2 else refused("needs 3 whole weeks"),
        index=forecast,
        r_squared=None if index is None else index.r_squared,
        alarms=tuple(sorted(first.values(), key=lambda alarm: alarm.week)),
    )


def surrogates_of(outcomes: Outcomes, asked: LongTerm) -> Floats:
    """The surrogates of every member: sums over the short weeks, float64 of shape [k, n]."""
    return np.stack([outcomes.weekly[name][: asked.short_weeks].sum(axis=0) for name in asked.surrogates])


def _alarm(experiment: Experiment, week: int, by: str, short: Effect, late: Effect) -> list[Alarm]:
    if short.sign * late.sign >= 0:
        return []
    fired = experiment.start_micros + week * WEEK_MICROS
    what = "the latest weeks" if by == "measured" else "the forecast of the slow outcome"
    better, worse = ("more", "less") if short.sign > 0 else ("less", "more")
    return [
        Alarm(
            week=week,
            fired_micros=fired,
            in_time=fired <= experiment.decision_micros,
            by=by,
            says=f"the short weeks have {better} in this cell than in the control, {what} have {worse}",
        )
    ]


def _slope(n_weeks: int) -> Floats:
    """Weights of the least-squares slope over weeks 0, 1, ..."""
    centred = np.arange(n_weeks) - (n_weeks - 1) / 2.0
    weights: Floats = centred / np.square(centred).sum()
    return weights
