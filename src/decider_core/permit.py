"""Who may get what at all: validity, channel filter, audience, consent and quiet hours, as reason codes."""

from __future__ import annotations

import numpy as np

from decider_core import reasons
from decider_core.compile import I32, I64, U8, U32, U64, inline, kernel
from decider_core.contracts import ContractError, check_array, check_range


def permit(
    rows: I64,
    audience: U64,
    consent: U32,
    live: U8,
    channel: I32,
    channel_allowed: U8,
    quiet: U8,
) -> U8:
    """Return why each candidate is barred from each member, u8[n_candidates, n_members]; 0 where it is not.

    Parameters
    ----------
    rows : i64[n_members]
        Where the members stand in `audience` and `consent`.
    audience : u64[n_words, n_rows]
        Bit ``k % 64`` of word ``k // 64`` is set where the member is in the audience of candidate k.
    consent : u32[n_rows]
        Bit c is set where the member agreed to channel c.
    live : u8[n_candidates]
        0, or the reason why the candidate cannot be sent at this time.
    channel : i32[n_candidates]
        The channel of each candidate, at most 32 channels.
    channel_allowed : u8[n_channels]
        0 bars a channel from this request.
    quiet : u8[n_channels, n_members]
        Not 0 where the member's local time lies in the quiet hours of the channel.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or points outside.

    Notes
    -----
    Where several reasons hold, the first in the order of their codes is given: the code in
    `live` (NOT_LIVE), then CHANNEL_FILTER, AUDIENCE, CONSENT, QUIET_HOURS. History comes after, in
    :mod:`decider_core.history`.
    """
    rows = check_array("rows", rows, np.int64, (None,))
    live = check_array("live", live, np.uint8, (None,))
    n_candidates, n_members = live.size, rows.size
    consent = check_array("consent", consent, np.uint32, (None,))
    audience = check_array("audience", audience, np.uint64, ((n_candidates + 63) // 64, consent.size))
    channel_allowed = check_array("channel_allowed", channel_allowed, np.uint8, (None,))
    if channel_allowed.size > 32:
        raise ContractError(f"channel_allowed must have at most 32 channels, got {channel_allowed.size}")
    channel = check_array("channel", channel, np.int32, (n_candidates,))
    check_range("channel", channel, 0, channel_allowed.size - 1)
    quiet = check_array("quiet", quiet, np.uint8, (channel_allowed.size, n_members))
    check_range("rows", rows, 0, consent.size - 1)
    reason = np.empty((n_candidates, n_members), np.uint8)
    _permit(rows, audience, consent, live, channel, channel_allowed, quiet, reason)
    return reason


@kernel
def _permit(
    rows: I64,
    audience: U64,
    consent: U32,
    live: U8,
    channel: I32,
    channel_allowed: U8,
    quiet: U8,
    reason: U8,
) -> None:
    # Eight candidates' audience bits of every member side by side, and what each channel alone says: then the loop
    # over pairs reads and writes bytes only, in the order in which they lie.
    n = rows.size
    by_channel = np.empty((channel_allowed.size, n), np.uint8)
    for c in range(channel_allowed.size):
        for r in range(n):
            agreed = consent[rows[r]] >> np.uint32(c) & np.uint32(1)
            on = np.uint8(reasons.QUIET_HOURS) if quiet[c, r] != 0 else np.uint8(reasons.ELIGIBLE)
            by_channel[c, r] = on if agreed else np.uint8(reasons.CONSENT)
    eight = np.empty(n, np.uint8)
    for k in range(live.size):
        if k % 8 == 0:
            word, shift = audience[k // 64], np.uint64(k % 64)
            for r in range(n):
                eight[r] = np.uint8(word[rows[r]] >> shift & np.uint64(255))
        c = channel[k]
        for_all = live[k]
        if for_all == 0 and channel_allowed[c] == 0:
            for_all = np.uint8(reasons.CHANNEL_FILTER)
        if for_all != 0:
            reason[k] = for_all
            continue
        _mark(eight, np.uint8(1 << k % 8), by_channel[c], reason[k])


@inline
def _mark(eight: U8, bit: np.uint8, otherwise: U8, reason: U8) -> None:
    for r in range(eight.size):
        reason[r] = otherwise[r] if eight[r] & bit else np.uint8(reasons.AUDIENCE)
