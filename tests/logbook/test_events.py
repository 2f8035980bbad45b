"""Events are stored once each, whole batches at a time, and wrong ones are refused by place and rule."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from decider import errors
from decider.logbook.schema import EventType, decision_id
from decider.logbook.store import Logbook

from . import records


def stored(logbook: Logbook) -> list[str]:
    return [name for frame in logbook.event_frames() for name in frame["event_id"].to_list()]


def test_batch_again_changes_nothing(tmp_path: Path) -> None:
    batch = [records.event(f"e{place}", value=1) for place in range(5)]
    with Logbook.open(tmp_path) as logbook:
        assert logbook.append_events(batch) == (5, 0, [], 5)
        assert logbook.append_events(batch) == (0, 5, [], 0)
        assert logbook.append_events([*batch[2:], records.event("e9"), records.event("e9")])[:2] == (1, 4)
    with Logbook.open(tmp_path) as logbook:
        assert logbook.append_events([records.event("e0", value=1.0)])[:2] == (0, 1)
        assert stored(logbook) == ["e0", "e1", "e2", "e3", "e4", "e9"]
        assert logbook.last_sequence == 6


def test_other_body_is_refused_with_the_whole_batch(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.append_events([records.event("e1")])
        with pytest.raises(errors.Conflict, match=r"events\[1\]\.event_id 'e1' was used before"):
            logbook.append_events([records.event("e2"), records.event("e1", value=3.0)])
        with pytest.raises(errors.Conflict, match=r"events\[1\]\.event_id 'e3'"):
            logbook.append_events([records.event("e3"), records.event("e3", EventType.OPENED)])
        assert stored(logbook) == ["e1"]


def test_threads_that_report_the_same_events(tmp_path: Path) -> None:
    batches = [[records.event(f"e{place}") for place in range(start, start + 20)] for start in range(80)]
    with Logbook.open(tmp_path) as logbook, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(logbook.append_events, batches))
        assert sum(result.n_new for result in results) == 99
        assert sorted(stored(logbook)) == sorted(f"e{place}" for place in range(99))
        assert logbook.last_sequence == 99


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"type_": "bought"}, errors.UnknownName, r"events\[1\]\.type must be one of sent, .*, got 'bought'"),
        ({"value": float("nan")}, errors.InvalidInput, r"events\[1\]\.value must be finite, got nan"),
        ({"value": float("inf")}, errors.InvalidInput, r"events\[1\]\.value must be finite, got inf"),
        ({"event_time_micros": -1}, errors.InvalidInput, r"event_time_micros must be in .*, got -1"),
        ({"event_time_micros": 2**63}, errors.InvalidInput, "event_time_micros must be in"),
        ({"event_id": ""}, errors.InvalidInput, "event_id must not be empty"),
        ({"decision_id": None}, errors.InvalidInput, "decision_id must be given unless"),
        ({"decision_id": None, "member_id": 7}, errors.InvalidInput, "decision_id must be given unless"),
        ({"decision_id": ""}, errors.InvalidInput, "decision_id must not be empty"),
        ({"candidate": "mens"}, errors.InvalidInput, "candidate must read message@channel, got 'mens'"),
    ],
)
def test_wrong_event_is_refused(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], match: str
) -> None:
    with Logbook.open(tmp_path) as logbook:
        with pytest.raises(error, match=match):
            logbook.append_events([records.event("good"), records.event(**({"event_id": "e"} | changes))])  # type: ignore[arg-type]
        assert stored(logbook) == []


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        with pytest.raises(errors.InvalidInput) as caught:
            logbook.append_events([records.event(""), records.event("e", value=float("nan"))])
        assert [violation.field for violation in caught.value.violations] == [
            "events[0].event_id",
            "events[1].value",
        ]
        with pytest.raises(errors.InvalidInput, match="events must hold at least one event"):
            logbook.append_events([])


def test_opt_out_must_say_what_falls_silent(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        with pytest.raises(errors.NotFound, match="decision_id names no known decision"):
            logbook.append_events([records.event("e1", EventType.UNSUBSCRIBED)])
        logbook.append_decision(records.decision(sent=()))
        with pytest.raises(errors.InvalidInput, match=r"events\[0\]\.candidate must be given where"):
            logbook.append_events([records.event("e1", EventType.UNSUBSCRIBED)])
        outcome = logbook.append_events([records.event("e1", EventType.UNSUBSCRIBED, candidate="top@push")])
        assert [entry.candidate for entry in outcome.history] == ["top@push"]


def test_large_batch_is_one_transaction(tmp_path: Path) -> None:
    batch = [records.event(f"e{place}") for place in range(20_000)]
    with Logbook.open(tmp_path) as logbook:
        assert logbook.append_events(batch).n_new == 20_000
        frame = pl.concat(logbook.event_frames())
        assert frame["sequence"].to_list() == list(range(1, 20_001))
        assert frame["decision_id"].unique().to_list() == [decision_id("r1")]
