"""A generated e-mail trial in the shape of Hillstrom's (MineThatData E-Mail Analytics Challenge, 2008).

It stands in where the real file cannot be had. Three arms at equal shares; two weeks' outcomes; effects that depend
on what the customer bought before. Its columns and levels are those of the real file, its rows are not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

ARMS: Final = ("Mens E-Mail", "Womens E-Mail", "No E-Mail")
ZIP_CODES: Final = ("Surburban", "Urban", "Rural")
CHANNELS: Final = ("Web", "Phone", "Multichannel")
SEGMENTS: Final = (
    "1) $0 - $100",
    "2) $100 - $200",
    "3) $200 - $350",
    "4) $350 - $500",
    "5) $500 - $750",
    "6) $750 - $1,000",
    "7) $1,000 +",
)
_EDGES: Final = (100.0, 200.0, 350.0, 500.0, 750.0, 1000.0)


def generate_trial(n_members: int = 64_000, seed: int = 2008) -> pl.DataFrame:
    """Draw a trial.

    Parameters
    ----------
    n_members
        Rows, at least 1.
    seed
        The same seed gives the same rows.

    Returns
    -------
    Columns ``recency, history_segment, history, mens, womens, zip_code, newbie, channel, segment, visit, conversion,
    spend``.
    """
    if n_members < 1:
        raise ValueError(f"n_members must be >= 1, got {n_members}")
    rng = np.random.default_rng(seed)
    recency = rng.integers(1, 13, n_members)
    history = np.round(29.99 + rng.gamma(1.0, 215.0, n_members), 2)
    bought = rng.choice(3, n_members, p=(0.45, 0.45, 0.10))
    mens, womens = np.isin(bought, (0, 2)), np.isin(bought, (1, 2))
    newbie = rng.random(n_members) < 0.5
    arm = rng.permutation(n_members) % 3

    organic = 0.14 - 0.006 * recency + 0.04 * womens + 0.00004 * np.minimum(history, 1000.0) - 0.03 * newbie
    mens_effect = 0.068 + 0.05 * (mens & womens)
    womens_effect = 0.010 + 0.062 * womens
    uplift = np.where(arm == 0, mens_effect, np.where(arm == 1, womens_effect, 0.0))
    visit = rng.random(n_members) < np.clip(organic + uplift, 0.01, 0.9)
    conversion = visit & (rng.random(n_members) < 0.06)
    spend = np.where(conversion, np.round(rng.gamma(2.0, 58.0, n_members) + 29.99, 2), 0.0)
    return pl.DataFrame(
        {
            "recency": recency,
            "history_segment": pl.Series(SEGMENTS).gather(np.searchsorted(_EDGES, history, side="right")),
            "history": history,
            "mens": mens.astype(np.int64),
            "womens": womens.astype(np.int64),
            "zip_code": pl.Series(ZIP_CODES).gather(rng.choice(3, n_members, p=(0.45, 0.40, 0.15))),
            "newbie": newbie.astype(np.int64),
            "channel": pl.Series(CHANNELS).gather(rng.choice(3, n_members, p=(0.44, 0.44, 0.12))),
            "segment": pl.Series(ARMS).gather(arm),
            "visit": visit.astype(np.int64),
            "conversion": conversion.astype(np.int64),
            "spend": spend,
        }
    )
