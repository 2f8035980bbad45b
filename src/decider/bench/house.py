"""Everything that a service needs, made up: members, a catalog, a model, a policy; as files, like anybody's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from decider.members import SnapshotSpec, build_snapshot
from decider.models import RawMap, Registry, UpliftModel

N_FEATURES = 32
N_MESSAGES = 16
N_CANDIDATES = 2 * N_MESSAGES
FIRST_ID = 1_000_000
POLICY = "thompson"

_CATALOG = """
name = "bench"
[caps]
member = { per_decision = 3, count = 12, days = 7 }
[[channels]]
name = "email"
cost = 1.0
cap = { count = 8, days = 7 }
[[channels]]
name = "push"
cost = 1.0
quiet_hours = "22:00-08:00"
"""
_MESSAGE = """
[[messages]]
id = "message-{place}"
type = "type-{kind}"
topic = "title:{place}"
channels = ["email", "push"]
suppress = {{ days = 1, scope = "topic" }}
"""
_POLICIES = f"""
[[policy]]
name = "{POLICY}"
kind = "thompson"
model = "uplift"
seed = 7
holdout = 0.05
explore = 0.05
price = 0.05
propensity_draws = 200
"""
_CONFIG = """
listen = "127.0.0.1:0"
max_concurrent_rpcs = 1024
"""


def build_house(directory: Path, n_members: int, seed: int = 1) -> Path:
    """Write the files; return the configuration.

    Sets of up to three of 32 candidates, drawn by Thompson with full covariances over 32 features, 200 replays
    for each propensity, caps, suppressions, quiet hours and consent.
    """
    rng = np.random.default_rng(seed)
    names = [f"x{place}" for place in range(N_FEATURES)]
    features = rng.standard_normal((n_members, N_FEATURES), np.float32)
    members = pl.DataFrame(
        {
            "member_id": np.arange(FIRST_ID, FIRST_ID + n_members),
            **{name: features[:, place] for place, name in enumerate(names)},
            "may_mail": rng.random(n_members) < 0.8,
            "zone": rng.choice(["UTC", "America/New_York", "Asia/Tokyo"], n_members),
        }
    )
    members.write_parquet(directory / "members.parquet")
    spec = SnapshotSpec(
        id="member_id",
        features=tuple(names),
        consent={"email": "may_mail", "push": True},
        time_zone_column="zone",
    )
    build_snapshot(directory / "members.parquet", spec, directory / "snapshot")
    messages = (_MESSAGE.format(place=place, kind=place % 4) for place in range(N_MESSAGES))
    (directory / "catalog.toml").write_text(_CATALOG + "".join(messages))
    (directory / "policies.toml").write_text(_POLICIES)
    Registry(directory / "models").publish(_model(names, rng))
    config = directory / "decider.toml"
    config.write_text(_CONFIG)
    return config


def _model(names: list[str], rng: np.random.Generator) -> UpliftModel:
    width = N_FEATURES + 1
    half = rng.normal(size=(N_MESSAGES, width, width)) * 0.002
    mean = rng.normal(size=(N_MESSAGES, width)) * 0.005
    return UpliftModel(
        name="uplift",
        feature_map=RawMap(
            feature_names=tuple(names), mean=np.zeros(N_FEATURES), scale=np.ones(N_FEATURES), intercept=True
        ),
        posterior_names=tuple(f"message-{place}" for place in range(N_MESSAGES)),
        mean=mean,
        covariance=half @ half.transpose(0, 2, 1) + np.eye(width) * 1e-6,
        reward="play",
        fatigue=np.concatenate([[0.01], np.zeros(width - 1)]),
        same_topic_penalty=0.01,
    )
