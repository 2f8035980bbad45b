"""Snapshot, live history and catalog together in the core's terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from small_members import built

from decider.catalog import parse_catalog
from decider.members import OPT_OUT, SEND, LiveHistory
from decider_core import reasons
from decider_core.history import Candidates, LiveSends, SnapshotSends, apply_history

DAY = 86_400_000_000
NOW = 100 * DAY

CATALOG = """
name = "x"
[caps]
member = { per_decision = 3, count = 4, days = 10 }
[[channels]]
name = "email"
cap = { count = 1, days = 2 }
[[channels]]
name = "sms"
[[messages]]
id = "a"
type = "news"
channels = ["email", "sms"]
suppress = { days = 7, scope = "topic" }
[[messages]]
id = "b"
type = "news"
channels = ["sms"]
suppress = { days = 7, scope = "type" }
"""


def test_past_sends_of_both_sources_bar_candidates(tmp_path: Path) -> None:
    catalog = parse_catalog(CATALOG)
    table = pl.DataFrame({"member_id": ["nobody", "past", "live", "out", "full"]})
    past = pl.DataFrame(
        [
            ("past", "a", "news", "a", "email", NOW - DAY),
            ("past", "old", "gone", "gone", "fax", NOW - DAY),
            *[("full", "old", "gone", "gone", "fax", NOW - day * DAY) for day in (1, 2, 3, 9, 10)],
        ],
        schema=["member_id", "message", "type", "topic", "channel", "time"],
        orient="row",
    )
    plain = {
        "features": (),
        "categories": (),
        "consent": {"email": True, "sms": True},
        "time_zone_column": None,
    }
    snapshot = built(tmp_path, table, past, **plain)
    history = LiveHistory(snapshot.n_members)
    row = {name: int(snapshot.rows_of([name])[0]) for name in table["member_id"]}
    history.append(row["live"], NOW - 6 * DAY, history.code("b", "news", "b", "sms"), SEND, 1)
    history.append(row["out"], NOW - 90 * DAY, history.channel_code("sms"), OPT_OUT, 2)
    history.append(row["nobody"], NOW - DAY, history.code("a", "news", "a", "sms"), SEND, 3)  # not seen yet
    reason = np.zeros((3, 5), np.uint8)
    caps = apply_history(
        np.arange(5),
        NOW,
        SnapshotSends(*snapshot.sends, *snapshot.code_tables(catalog)),
        LiveSends(*history.view(), *history.code_tables(catalog)),
        2,
        Candidates(catalog.channel, catalog.topic, catalog.type),
        catalog.history_rules,
        catalog.max_messages,
        reason,
    )
    found = {name: [reasons.NAMES[code] for code in reason[:, place]] for name, place in row.items()}
    assert [candidate.id for candidate in catalog.candidates] == ["a@email", "a@sms", "b@sms"]
    assert found == {
        "nobody": ["eligible", "eligible", "eligible"],
        # The same topic on any channel; b is of the same type.
        "past": ["suppressed", "suppressed", "suppressed"],
        "live": ["eligible", "eligible", "suppressed"],
        "out": ["eligible", "consent", "consent"],
        # Four sends in ten days, of messages and on a channel that the catalog does not have.
        "full": ["member_cap", "member_cap", "member_cap"],
    }
    assert caps.room_member.tolist() == [3, 2, 3, 3, 0]
    assert caps.room_channel.tolist() == [[1, 0, 1, 1, 1], [3, 3, 3, 3, 3]]
