"""Who may get what at all: validity, channel filter, audience, consent and quiet hours, as reason codes."""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core import reasons
from decider_core.compile import I32, I64, U8, U32, U64, kernel
from decider_core.contracts import ContractError, check_array, check_range
from decider_core.rows import take

_BLOCK: Final = 2048
"""Members looked at together."""


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
    # Every member's audience and consent bits side by side, eight candidates' audience bits to a byte, and what each
    # channel alone says: then the loop over pairs reads and writes bytes only, in the order in which they lie. Block
    # by block, so that all of it stays in the nearest cache.
    n = min(rows.size, _BLOCK)
    agreed, bits, eight = np.empty(n, np.uint32), np.empty(n, np.uint64), np.empty(n, np.uint8)
    by_channel = np.empty((channel_allowed.size, n), np.uint8)
    for first in range(0, rows.size, _BLOCK):
        here = rows[first : first + _BLOCK]
        m = here.size
        take(consent, here, agreed[:m])
        for c in range(channel_allowed.size):
            _ask(agreed[:m], np.uint32(1 << c), quiet[c, first : first + m], by_channel[c, :m])
        for k in range(live.size):
            if k % 64 == 0:
                take(audience[k // 64], here, bits[:m])
            if k % 8 == 0:
                _cut(bits[:m], np.uint64(k % 64), eight[:m])
            for_all, c = live[k], channel[k]
            if for_all == 0 and channel_allowed[c] == 0:
                for_all = np.uint8(reasons.CHANNEL_FILTER)
            if for_all != 0:
                reason[k, first : first + m] = for_all
            else:
                _mark(eight[:m], np.uint8(1 << k % 8), by_channel[c, :m], reason[k, first : first + m])


@kernel
def _ask(agreed: U32, bit: np.uint32, quiet: U8, reason: U8) -> None:
    for r in range(reason.size):
        on = np.uint8(reasons.QUIET_HOURS) if quiet[r] != 0 else np.uint8(reasons.ELIGIBLE)
        reason[r] = on if agreed[r] & bit else np.uint8(reasons.CONSENT)


@kernel
def _cut(bits: U64, shift: np.uint64, eight: U8) -> None:
    for r in range(eight.size):
        eight[r] = np.uint8(bits[r] >> shift & np.uint64(255))


@kernel
def _mark(eight: U8, bit: np.uint8, otherwise: U8, reason: U8) -> None:
    for r in range(eight.size):
        reason[r] = otherwise[r] if eight[r] & bit else np.uint8(reasons.AUDIENCE)
