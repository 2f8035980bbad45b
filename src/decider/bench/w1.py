"""The work W1 as files: members x 32 candidates x 32 features, full covariance, Thompson, three above a price."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from decider.members import SnapshotSpec, build_snapshot
from decider.models import RawMap, Registry, UpliftModel

CHANNELS = ("email", "push", "sms", "in_app")
PRICE = 1.2
"""So high that members get about 1.3 messages."""
MEMBERS_AT_ONCE = 2_000_000
"""Members that are made up at a time: memory does not grow with their number."""
POLICIES = f"""
[[policy]]
name = "thompson"
kind = "thompson"
model = "w1"
seed = 7
explore = 0.05
explore_counts = [0.25, 0.5, 0.25]
price = {PRICE}
"""


def write_w1(directory: Path, n_members: int, n_candidates: int = 32, n_features: int = 32) -> Path:
    """Write snapshot, catalog, model, policies and configuration; return the configuration's path."""
    rng = np.random.default_rng(0)
    names = tuple(f"f{place}" for place in range(n_features))
    tables = []
    for first in range(0, n_members, MEMBERS_AT_ONCE):
        n = min(MEMBERS_AT_ONCE, n_members - first)
        columns = [pl.Series("member_id", np.arange(first, first + n, dtype=np.int64) + 10**9)]
        columns += [pl.Series(name, rng.standard_normal(n, dtype=np.float32)) for name in names]
        tables.append(directory / f"members-{first:010}.parquet")
        pl.DataFrame(columns).write_parquet(tables[-1], compression="uncompressed")
    consent: dict[str, bool | str] = dict.fromkeys(CHANNELS, True)
    spec = SnapshotSpec(id="member_id", features=names, attributes=(), consent=consent)
    build_snapshot(tables, spec, directory / "snapshot")
    for table in tables:
        table.unlink()
    messages = n_candidates // len(CHANNELS)
    (directory / "catalog.toml").write_text(_catalog(messages))
    candidates = tuple(f"m{message}@{channel}" for message in range(messages) for channel in CHANNELS)
    Registry(directory / "models").publish(_model(rng, names, candidates))
    (directory / "policies.toml").write_text(POLICIES)
    config = directory / "decider.toml"
    config.write_text('listen = "127.0.0.1:0"\n')
    return config


def _catalog(n_messages: int) -> str:
    lines = ['name = "w1"', "[caps]", "member = { per_decision = 3 }"]
    for channel in CHANNELS:
        lines += ["[[channels]]", f'name = "{channel}"', "cost = 1.0"]
    for message in range(n_messages):
        lines += [
            "[[messages]]",
            f'id = "m{message}"',
            f'type = "t{message % 4}"',
            f"channels = {list(CHANNELS)}",
        ]
    return "\n".join(lines)


def _model(rng: np.random.Generator, features: tuple[str, ...], candidates: tuple[str, ...]) -> UpliftModel:
    d = len(features)
    covariance = np.empty((len(candidates), d, d))
    for k in range(len(candidates)):
        seen = rng.standard_normal((200, d))
        covariance[k] = np.linalg.inv(10 * np.eye(d) + seen.T @ seen)
    return UpliftModel(
        name="w1",
        feature_map=RawMap(feature_names=features, mean=np.zeros(d), scale=np.ones(d), intercept=False),
        posterior_names=candidates,
        mean=rng.standard_normal((len(candidates), d)) * 0.1,
        covariance=covariance,
        reward="y",
    )
