"""Why a candidate is not eligible: one byte per member and candidate, zero when it is."""

from __future__ import annotations

from typing import Final

ELIGIBLE: Final = 0
NOT_LIVE: Final = 1
CHANNEL_FILTER: Final = 2
AUDIENCE: Final = 3
CONSENT: Final = 4
QUIET_HOURS: Final = 5
SUPPRESSED: Final = 6
MEMBER_CAP: Final = 7
CHANNEL_CAP: Final = 8
TOPIC_CAP: Final = 9
NO_POSTERIOR: Final = 10
HOLDOUT: Final = 11

NAMES: Final = (
    "eligible",
    "not_live",
    "channel_filter",
    "audience",
    "consent",
    "quiet_hours",
    "suppressed",
    "member_cap",
    "channel_cap",
    "topic_cap",
    "no_posterior",
    "holdout",
)
