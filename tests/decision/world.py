"""A small world for decisions: members, a catalog, a model, policies, all through the real files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from decider.catalog import parse_catalog
from decider.clock import ManualClock
from decider.decision.engine import Engine
from decider.decision.parts import Parts, bind_parts
from decider.decision.policy import parse_policies
from decider.logbook import Logbook
from decider.members import Snapshot, SnapshotSpec, build_snapshot
from decider.models import RawMap, UpliftModel

TIME = 1_790_000_000_000_000
"""In September 2026; the world's now."""
FEATURES = ("recency", "plays", "tenure", "affinity")

CATALOG = """
name = "world"
[caps]
member = { per_decision = 3, count = 4, days = 7 }
topic = { count = 2, days = 7 }
[[channels]]
name = "email"
cost = 1.0
cap = { count = 2, days = 7 }
[[channels]]
name = "push"
cost = 1.0
quiet_hours = "22:00-08:00"
[[messages]]
id = "picks"
type = "top_picks"
channels = ["email", "push"]
priority = 10
[[messages]]
id = "season"
type = "new_season"
topic = "title:north"
channels = ["email", "push"]
audience = "watched_1 AND NOT watched_2"
priority = "20 + plays"
weight = 2.0
[[messages]]
id = "arrival"
type = "new_arrival"
topic = "title:south"
channels = ["email", "push"]
suppress = { days = 14, scope = "topic" }
[[messages]]
id = "gone"
type = "new_arrival"
channels = ["email"]
valid_until = 2026-01-01T00:00:00Z
[[messages]]
id = "mystery"
type = "look_ahead"
channels = ["push"]
"""

POLICIES = """
default = "thompson"
[[policy]]
name = "thompson"
kind = "thompson"
model = "uplift"
seed = 7
holdout = 0.05
explore = 0.2
explore_counts = [0.3, 0.4, 0.2, 0.1]
price = 0.02
propensity_draws = 40
[[policy]]
name = "single"
kind = "thompson"
model = "uplift"
explore = 0.1
max_messages = 1
explore_counts = [0.5, 0.5]
[[policy]]
name = "greedy"
kind = "greedy"
model = "uplift"
explore = 0.0
[[policy]]
name = "epsilon"
kind = "epsilon_greedy"
model = "uplift"
explore = 0.0
epsilon = 0.3
[[policy]]
name = "heuristic"
kind = "heuristic"
explore = 0.0
[[policy]]
name = "random"
kind = "random"
explore_counts = [0.5, 0.5]
"""


def members_frame(n_members: int, text_ids: bool = False, seed: int = 1) -> pl.DataFrame:
    """Members with whole-number features here and there, so that some gains tie."""
    rng = np.random.default_rng(seed)
    ids = np.arange(n_members) * 7 + 100
    return pl.DataFrame(
        {
            "member_id": [f"member-{i}" for i in ids] if text_ids else ids,
            "recency": rng.integers(1, 13, n_members).astype(np.float64),
            "plays": rng.poisson(3.0, n_members).astype(np.float64),
            "tenure": rng.integers(0, 5, n_members).astype(np.float64),
            "affinity": np.round(rng.random(n_members), 1),
            "watched_1": rng.random(n_members) < 0.6,
            "watched_2": rng.random(n_members) < 0.3,
            "may_mail": rng.random(n_members) < 0.8,
            "zone": rng.choice(["UTC", "America/New_York", "Asia/Tokyo"], n_members),
        }
    )


SPEC = SnapshotSpec(
    id="member_id",
    features=FEATURES,
    consent={"email": "may_mail", "push": True},
    time_zone_column="zone",
)


def model(name: str = "uplift", seed: int = 3) -> UpliftModel:
    """A model that knows every message but `mystery`, whose type it does not know either."""
    rng = np.random.default_rng(seed)
    feature_map = RawMap(
        feature_names=FEATURES,
        mean=np.array([6.0, 3.0, 2.0, 0.5]),
        scale=np.array([3.0, 2.0, 1.5, 0.3]),
        intercept=True,
    )
    names = ("picks", "season", "arrival", "season@push")
    half = rng.normal(size=(len(names), 5, 5)) * 0.02
    mean = rng.normal(size=(len(names), 5)) * 0.02
    mean[:, 0] += 0.05
    return UpliftModel(
        name=name,
        feature_map=feature_map,
        posterior_names=names,
        mean=mean,
        covariance=half @ half.transpose(0, 2, 1) + np.eye(5) * 1e-5,
        reward="play",
        fatigue=np.array([0.01, 0.0, 0.002, 0.0, 0.0]),
        same_topic_penalty=0.01,
    )


@dataclass(frozen=True)
class World:
    """What tests work with."""

    parts: Parts
    directory: Path

    @contextmanager
    def engine(self, log: str = "log", threads: int = 2) -> Iterator[tuple[Engine, Logbook]]:
        """An engine on a logbook of its own."""
        with Logbook.open(self.directory / log) as logbook:
            engine = Engine(
                self.parts, logbook, ManualClock(TIME), threads, lambda _, parts: parts, lambda: self.parts
            )
            try:
                yield engine, logbook
            finally:
                engine.close()


def build_world(
    directory: Path,
    n_members: int = 3000,
    *,
    text_ids: bool = False,
    catalog: str = CATALOG,
    policies: str = POLICIES,
) -> World:
    """Write the members, build the snapshot, bind it all."""
    table = directory / "members.parquet"
    members_frame(n_members, text_ids).write_parquet(table)
    build_snapshot(table, SPEC, directory / "snapshot")
    parts = bind_parts(
        parse_catalog(catalog),
        Snapshot.open(directory / "snapshot"),
        parse_policies(policies),
        {"uplift": model()},
    )
    return World(parts, directory)
