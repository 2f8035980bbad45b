"""What time it is where members are."""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from decider.errors import InvalidInput
from decider_core.rows import codes_among, stretch_of, translate

Array = npt.NDArray[Any]


class HasZones(Protocol):
    """The part of a snapshot that is read here."""

    @property
    def zones(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def zone(self) -> Array: ...  # noqa: D102


def local_minutes(snapshot: HasZones, rows: Array, time_micros: int) -> Array:
    """Tell members' local time of day.

    Parameters
    ----------
    snapshot
        Where the members' zones are.
    rows
        int64[n_members] rows.
    time_micros
        The instant, microseconds since the Unix epoch.

    Returns
    -------
    int16[n_members]
        Minutes after local midnight, 0 to 1439, by the clock on the wall: summer time counts.

    Raises
    ------
    InvalidInput
        The instant is outside the years 1 to 9999.
    """
    codes = snapshot.zone[stretch_of(rows)]
    by_zone = np.zeros(len(snapshot.zones), np.int16)
    for code in codes_among(codes, by_zone.size):
        by_zone[code] = _minutes(snapshot.zones[code], time_micros // 60_000_000)
    return translate(codes, by_zone)


def minutes_of_zones(snapshot: HasZones, time_micros: int) -> Array:
    """Tell the local time of day in every zone, int16[n_zones], as :func:`local_minutes` does for members."""
    return np.array([_minutes(zone, time_micros // 60_000_000) for zone in snapshot.zones], np.int16)


def is_zone(name: str) -> bool:
    """Say whether a name is an IANA time zone that this machine knows."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def rehearse() -> None:
    """Look up two codes, so that no decision waits for a compiler."""
    codes = np.arange(2, dtype=np.int16)
    codes_among(codes, 2)
    translate(codes, codes)


@functools.lru_cache(maxsize=4096)
def _minutes(zone: str, minute: int) -> int:
    """Local minutes after midnight in a zone, at a minute since the Unix epoch."""
    try:
        instant = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=minute)
        local = instant.astimezone(zoneinfo.ZoneInfo(zone))
    except OverflowError:
        raise InvalidInput.of(
            "decision_time", "must be in the years 1 to 9999", minute * 60_000_000
        ) from None
    return local.hour * 60 + local.minute
