"""Local time of day, through summer time and odd offsets."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider.errors import InvalidInput
from decider.members import local_minutes

ZONES = (
    "UTC",
    "Europe/Amsterdam",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)


@dataclass
class Members:
    zones: tuple[str, ...]
    zone: np.ndarray[Any, Any]


EVERYWHERE = Members(ZONES, np.arange(len(ZONES), dtype=np.int16))


def micros(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp()) * 1_000_000


def minutes(zone: str, text: str) -> int:
    out = local_minutes(Members((zone,), np.zeros(1, np.int16)), np.zeros(1, np.int64), micros(text))
    assert out.dtype == np.int16
    return int(out[0])


@pytest.mark.parametrize(
    ("zone", "utc", "expected"),
    [
        # The clock jumps from 02:00 to 03:00 in Amsterdam.
        ("Europe/Amsterdam", "2026-03-29T00:59:59+00:00", 1 * 60 + 59),
        ("Europe/Amsterdam", "2026-03-29T01:00:00+00:00", 3 * 60),
        # 02:30 comes twice in autumn.
        ("Europe/Amsterdam", "2026-10-25T00:30:00+00:00", 2 * 60 + 30),
        ("Europe/Amsterdam", "2026-10-25T01:30:00+00:00", 2 * 60 + 30),
        ("America/New_York", "2026-03-08T06:59:00+00:00", 1 * 60 + 59),
        ("America/New_York", "2026-03-08T07:00:00+00:00", 3 * 60),
        ("Asia/Kathmandu", "2026-01-01T00:00:00+00:00", 5 * 60 + 45),
        # Lord Howe Island moves by half an hour.
        ("Australia/Lord_Howe", "2026-01-01T00:00:00+00:00", 11 * 60),
        ("Australia/Lord_Howe", "2026-07-01T00:00:00+00:00", 10 * 60 + 30),
        ("UTC", "1969-12-31T23:59:00+00:00", 23 * 60 + 59),
    ],
)
def test_summer_time_and_odd_offsets(zone: str, utc: str, expected: int) -> None:
    assert minutes(zone, utc) == expected


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    time_micros=st.integers(-(10**15), 4 * 10**15), rows=st.lists(st.integers(0, len(ZONES) - 1), max_size=20)
)
def test_every_member_has_the_time_of_the_zone(time_micros: int, rows: list[int]) -> None:
    comp = local_minutes(EVERYWHERE, np.array(rows, np.int64), time_micros)
    ref = []
    for row in rows:
        local = datetime.datetime.fromtimestamp(time_micros // 1_000_000, ZoneInfo(ZONES[row]))
        ref.append(local.hour * 60 + local.minute)
    assert comp.tolist() == ref


def test_a_time_outside_the_calendar_is_refused() -> None:
    for time_micros in (2**62, -(2**62)):
        with pytest.raises(InvalidInput, match=r"decision_time must be in the years 1 to 9999"):
            local_minutes(EVERYWHERE, np.array([1]), time_micros)
