"""An experiment read from a logbook: who was in which cell from when on, and what happened afterwards."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.experiments.logged_members import logged_members, resolved_events
from decider.experiments.outcomes import MetricColumns, Outcomes
from decider.experiments.spec import BEFORE, WEEK_MICROS, Experiment
from decider.logbook.schema import EventType
from decider.logbook.store import Logbook

Floats = NDArray[np.float64]
DAY_MICROS = 86_400_000_000


def outcomes_of_log(
    experiment: Experiment, log: Logbook, until_micros: int, assigned: Floats | None = None
) -> Outcomes:
    """Add up what each member of an experiment did.

    A member is in it from the first decision on that was made under the experiment (`triggered`); events count from
    then until the end, whatever decision they follow. Covariates are sums over `before_days` before the start.

    Parameters
    ----------
    experiment
        As the log has it: by name, content and assignment.
    log
        Open to be read. Memory grows with members and events, not with decisions.
    until_micros
        What came later is not looked at.
    assigned
        float64 of shape [C]: members by cell, over all who could have come.

    Raises
    ------
    InvalidInput
        When the log has no decision of the experiment, or shows that it was changed while it ran: another content,
        another policy of a cell, a member in another cell than its key gives.
    """
    until = min(until_micros, experiment.end_micros)
    events = _wanted(experiment, log.event_frames(_since(experiment)), until)
    members = logged_members(experiment, log, until)
    found, n_unmatched = resolved_events(log, events, members["member_id"].dtype)
    joined = found.join(
        members.select("member_id", "first_micros", pl.int_range(pl.len()).alias("place")),
        on="member_id",
        how="inner",
    ).with_columns(after=pl.col("event_time_micros") >= pl.col("first_micros"))
    during = joined.filter("after")
    before = joined.filter(pl.col("event_time_micros") < experiment.start_micros)
    n = members.height
    codes = np.ascontiguousarray(members["cell_code"].to_numpy())
    metrics = {}
    for metric in experiment.metric:
        total = _sums(during, metric.events, metric.use_value, n)
        per = _sums(during, metric.per, [], n) if metric.per else None
        covariate = _sums(before, metric.events, metric.use_value, n) if metric.covariate == BEFORE else None
        metrics[metric.name] = MetricColumns(total, per, covariate)
    n_days = max(1, -(-(until - experiment.start_micros) // DAY_MICROS))
    n_cells = len(experiment.cell_names)

    def by_day(places: NDArray[np.int64], times: NDArray[np.int64]) -> Floats:
        days = np.clip((times - experiment.start_micros) // DAY_MICROS, 0, n_days - 1)
        counts = np.bincount(days * n_cells + codes[places], minlength=n_days * n_cells)
        return counts.reshape(n_days, n_cells).astype(np.float64)

    everyone = np.arange(n)
    sent_micros = members["sent_micros"].fill_null(-1).to_numpy()
    was_sent = sent_micros >= 0
    got_it = np.zeros(n, np.bool_)
    got_it[during.filter(pl.col("type") == EventType.DELIVERED)["place"].unique().to_numpy()] = True
    got = np.flatnonzero(got_it & was_sent)
    harmed = {
        guardrail.name: by_day(*_first(during, [str(each) for each in guardrail.events]))
        for guardrail in experiment.guardrail
    }
    return Outcomes(
        cells=codes,
        metrics=metrics,
        triggered=by_day(everyone, members["first_micros"].to_numpy()),
        assigned=assigned,
        sent=by_day(np.flatnonzero(was_sent), sent_micros[was_sent]),
        delivered=by_day(got, sent_micros[got]),
        harmed=harmed,
        look_micros=experiment.start_micros + DAY_MICROS * np.arange(1, n_days + 1, dtype=np.int64),
        weekly=_weekly(experiment, during, until, n),
        until_micros=until,
        notes=(f"{n_unmatched:,} events belong to no known decision or member",) if n_unmatched else (),
    )


def _since(experiment: Experiment) -> int:
    wants_before = any(metric.covariate == BEFORE for metric in experiment.metric)
    return experiment.start_micros - experiment.before_days * DAY_MICROS * wants_before


def _wanted(experiment: Experiment, frames: Iterable[pl.DataFrame], until: int) -> list[pl.DataFrame]:
    """Events that some metric or guardrail counts."""
    for metric in experiment.metric:
        if metric.covariate not in ("", BEFORE):
            field = f"metric[{metric.name!r}].covariate"
            raise InvalidInput.of(field, f"must be {BEFORE!r} or empty for a logbook", metric.covariate)
    types = {str(each) for metric in experiment.metric for each in (*metric.events, *metric.per)}
    types |= {str(each) for guardrail in experiment.guardrail for each in guardrail.events}
    types.add(str(EventType.DELIVERED))
    wanted = pl.col("type").is_in(sorted(types)) & (pl.col("event_time_micros") < until)
    return [frame.filter(wanted) for frame in frames]


def _sums(events: pl.DataFrame, worth: dict[EventType, float], valued: list[EventType], n: int) -> Floats:
    """What each member's events are worth, float64 of shape [n]."""
    named = {str(event_type): value for event_type, value in worth.items()}
    mine = events.filter(pl.col("type").is_in(list(named)))
    if mine.height == 0:
        return np.zeros(n)
    times = pl.when(pl.col("type").is_in([str(each) for each in valued])).then("value").otherwise(1.0)
    amount = pl.col("type").replace_strict(named, return_dtype=pl.Float64) * times
    amounts = mine.select("place", "event_id", amount.alias("amount"))
    lacking = amounts.filter(pl.col("amount").is_null())
    if lacking.height:
        place = f"in event {lacking['event_id'][0]} ({lacking.height} events)"
        raise InvalidInput.of("events.value", "must be given where use_value names the type", None, place)
    sums: Floats = np.bincount(amounts["place"].to_numpy(), amounts["amount"].to_numpy(), n).astype(
        np.float64
    )
    return sums


def _first(events: pl.DataFrame, types: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members with an event of these types, and when the first one was."""
    first = (
        events.filter(pl.col("type").is_in(types)).group_by("place").agg(pl.col("event_time_micros").min())
    )
    return first["place"].to_numpy(), first["event_time_micros"].to_numpy()


def _weekly(experiment: Experiment, during: pl.DataFrame, until: int, n: int) -> dict[str, Floats]:
    asked = experiment.long_term
    if asked is None:
        return {}
    n_weeks = max(0, (until - experiment.start_micros) // WEEK_MICROS)
    weeks = during.with_columns(week=(pl.col("event_time_micros") - experiment.start_micros) // WEEK_MICROS)
    parts = [weeks.filter(pl.col("week") == week) for week in range(n_weeks)]
    by_name = {metric.name: metric for metric in experiment.metric}
    found = {}
    for name in dict.fromkeys([asked.metric, *asked.surrogates]):
        metric = by_name[name]
        columns = [_sums(part, metric.events, metric.use_value, n) for part in parts]
        found[name] = np.stack(columns) if columns else np.zeros((0, n))
    return found
