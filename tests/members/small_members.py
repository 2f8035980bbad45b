"""Small tables of members and the specs that fit them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from decider.members import SendsSpec, Snapshot, SnapshotSpec, build_snapshot

ZONES = ("America/New_York", "Asia/Kathmandu", "Europe/Amsterdam")


def members(n_members: int = 500, *, text_ids: bool = False, seed: int = 7) -> pl.DataFrame:
    """A table with every kind of column, in no order of ids."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(n_members) * 3 - n_members
    return pl.DataFrame(
        {
            "member_id": [f"mémber-{i}" for i in ids] if text_ids else ids,
            "recency": rng.normal(size=n_members),
            "n_plays": rng.integers(0, 100, n_members),
            "new": rng.random(n_members) < 0.5,
            "country": rng.choice(["NL", "US", "DE"], n_members),
            "zone": rng.choice(ZONES, n_members),
            "mail": rng.random(n_members) < 0.7,
            "text_ok": rng.integers(0, 2, n_members),
            "watched": pl.Series([True, None, False] * (n_members // 3 + 1))[:n_members],
        }
    )


def sends(table: pl.DataFrame, n_sends: int = 2_000, seed: int = 8) -> pl.DataFrame:
    """Past sends to members of a table, in no order."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "member_id": table["member_id"].gather(rng.integers(0, len(table), n_sends)),
            "message": rng.choice(["a", "b"], n_sends),
            "type": "news",
            "topic": rng.choice(["x", "y"], n_sends),
            "channel": rng.choice(["email", "sms"], n_sends),
            "time": rng.integers(0, 10**15, n_sends),
        }
    )


def spec(**changes: Any) -> SnapshotSpec:
    """The spec of :func:`members`, with changes."""
    fields: dict[str, Any] = {
        "id": "member_id",
        "features": ("recency", "n_plays", "new"),
        "categories": ("country",),
        "time_zone_column": "zone",
        "consent": {"email": "mail", "sms": "text_ok", "in_app": True},
    }
    return SnapshotSpec(**(fields | changes))


def built(directory: Path, table: pl.DataFrame, past: pl.DataFrame | None = None, **changes: Any) -> Snapshot:
    """Build and open a snapshot of a table."""
    directory.mkdir(parents=True, exist_ok=True)
    table.write_parquet(directory / "members.parquet", row_group_size=64)
    if past is not None:
        past.write_parquet(directory / "sends.parquet", row_group_size=256)
        changes.setdefault("sends", SendsSpec(path=str(directory / "sends.parquet")))
    build_snapshot(directory / "members.parquet", spec(**changes), directory / "snapshot", replace=True)
    return Snapshot.open(directory / "snapshot")
