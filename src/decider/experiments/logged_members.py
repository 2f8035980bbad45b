"""The members of an experiment as a logbook has them, and whose the events are."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.experiments.spec import Experiment
from decider.logbook.store import Logbook
from decider.members.ids import text_buffers
from decider_core.random import hash_strings

_COMPACT_ROWS = 4_000_000


def logged_members(experiment: Experiment, log: Logbook, until_micros: int) -> pl.DataFrame:
    """Find the experiment's members, and hold the log against what the experiment says.

    Returns
    -------
    ``member_id, cell_code u8, first_micros, sent_micros`` (null where nothing was sent), one row each, by time.

    Raises
    ------
    InvalidInput
        When there is none, or the experiment was changed while it ran.
    """
    parts: list[pl.DataFrame] = []
    made: dict[tuple[str, str, str, str], int] = {}
    for frame in log.decision_frames():
        mine = frame.filter(
            (pl.col("experiment") == experiment.name) & (pl.col("decision_time_micros") < until_micros)
        )
        if not mine.height:
            continue
        for *key, count in mine.group_by(
            "experiment_version", "cell", "policy", "policy_version"
        ).agg(pl.len()).iter_rows():  # fmt: skip
            made[tuple(key)] = made.get(tuple(key), 0) + count
        sent = pl.col("candidates").list.len() > 0
        parts.append(
            mine.group_by("member_id").agg(
                pl.col("cell").first(),
                pl.col("cell").n_unique().alias("n_cells"),
                pl.col("decision_time_micros").min().alias("first_micros"),
                pl.col("decision_time_micros").filter(sent).min().alias("sent_micros"),
            )
        )
        if sum(part.height for part in parts) > _COMPACT_ROWS:
            parts = [_merged(parts)]
    if not parts:
        raise InvalidInput.of("experiment.name", "must have decisions in the log", experiment.name)
    _refuse_changes(experiment, made)
    if len({part["member_id"].dtype for part in parts}) > 1:
        raise InvalidInput.of("member_id", "must be of one type in an experiment", "integers and strings")
    members = _merged(parts).sort("first_micros", "member_id")
    double = members.filter(pl.col("n_cells") > 1)
    if double.height:
        place = f"(experiment {experiment.name!r}, {double.height} members)"
        raise InvalidInput.of("cell", "must be one for each member", double["member_id"][0], place)
    names = list(experiment.cell_names)
    members = members.with_columns(
        cell_code=pl.col("cell").replace_strict(names, list(range(len(names))), return_dtype=pl.UInt8)
    )
    elsewhere = np.flatnonzero(
        members["cell_code"].to_numpy() != experiment.assign(_keys(members["member_id"]))
    )
    if elsewhere.size:
        member = members["member_id"][int(elsewhere[0])]
        rule = "must be the one that the salt and shares give; the experiment was changed while it ran"
        raise InvalidInput.of("cell", rule, member, f"({elsewhere.size} members)")
    return members


def resolved_events(
    log: Logbook, events: list[pl.DataFrame], id_type: pl.DataType
) -> tuple[pl.DataFrame, int]:
    """Give every event its member: its own, or that of the decision that it names.

    Returns
    -------
    events
        ``member_id, event_id, type, event_time_micros, value``.
    n_unmatched
        Events that name no decision of this log, or a member of another kind of id.
    """
    kept = ["event_id", "type", "event_time_micros", "value"]
    named, loose, n_events = [], [], 0
    for frame in events:
        n_events += frame.height
        has_member = frame["member_id"].dtype == id_type
        known = pl.col("member_id").is_not_null() if has_member else pl.lit(value=False)
        if has_member:
            named.append(frame.filter(known).select("member_id", *kept))
        loose.append(frame.filter(~known & pl.col("decision_id").is_not_null()).select("decision_id", *kept))
    waiting = pl.concat(loose) if loose else None
    if waiting is not None and waiting.height:
        for decisions in log.decision_frames():
            if decisions["member_id"].dtype == id_type:
                ids = decisions.select("decision_id", "member_id")
                named.append(waiting.join(ids, on="decision_id", how="inner").select("member_id", *kept))
    if not named:
        columns = [
            pl.Series("member_id", [], id_type),
            *(pl.Series(name, [], pl.String) for name in ("event_id", "type")),
            pl.Series("event_time_micros", [], pl.Int64),
            pl.Series("value", [], pl.Float64),
        ]
        return pl.DataFrame(columns), n_events
    found = pl.concat(named)
    return found, n_events - found.height


def _merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return (
        pl.concat(parts)
        .group_by("member_id")
        .agg(
            pl.col("cell").first(),
            pl.max_horizontal(pl.col("n_cells").max(), pl.col("cell").n_unique()).alias("n_cells"),
            pl.col("first_micros", "sent_micros").min(),
        )
    )


def _refuse_changes(experiment: Experiment, made: dict[tuple[str, str, str, str], int]) -> None:
    """Refuse a log in which the experiment had several contents, or a cell several policies."""
    versions: dict[str, int] = {}
    policies: dict[str, dict[tuple[str, str], int]] = {}
    for (version, cell, policy, policy_version), count in made.items():
        versions[version] = versions.get(version, 0) + count
        policies.setdefault(cell, {})[policy, policy_version] = count
    told = ", ".join(f"{version} in {count:,} decisions" for version, count in versions.items())
    if set(versions) != {experiment.version}:
        rule = f"must be {experiment.version} in every decision of {experiment.name!r}: it was changed while it ran"
        raise InvalidInput.of("experiment_version", rule, told)
    for cell, found in policies.items():
        if len(found) > 1:
            told = ", ".join(f"{name} {version}" for name, version in found)
            rule = "must have one policy of one version while the experiment runs"
            raise InvalidInput.of(f"cell[{cell!r}].policy", rule, told)


def _keys(ids: pl.Series) -> NDArray[np.uint64]:
    if ids.dtype == pl.String:
        return hash_strings(*text_buffers(ids))
    return np.ascontiguousarray(ids.to_numpy()).view(np.uint64)
