"""The folder of one demo: feedback, models, snapshot, catalog, policies, configuration, logbook."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import polars as pl

from decider.config import Config, load_config
from decider.learning import Training, TrainSpec, train
from decider.logbook.feedback import Feedback
from decider.logbook.trial import TrialSpec, import_trial
from decider.members import SnapshotSpec, build_snapshot
from decider.models import Registry

REWARD: Final = "visit"
ARMS: Final = {"Mens E-Mail": "mens", "Womens E-Mail": "womens"}
"""Arm of the trial -> message of the catalog."""
FEATURES: Final = ("recency", "history", "mens", "womens", "newbie")
CATEGORIES: Final = ("history_segment", "zip_code", "channel")

TRIAL: Final = TrialSpec(
    arm="segment",
    control="No E-Mail",
    rewards=["visit", "conversion", "spend"],
    features=list(FEATURES),
    categories=list(CATEGORIES),
    shares="uniform",
)
MEMBERS: Final = SnapshotSpec(
    id="member_id",
    features=FEATURES,
    categories=CATEGORIES,
    consent={"email": True},
    time_zone="America/New_York",
)
TRAINING: Final = TrainSpec(
    reward=REWARD,
    learners=("dr_learner", "correlational"),
    names={"dr_learner": "visit-incrementality", "correlational": "visit-level"},
    messages=ARMS,
    types=dict.fromkeys(ARMS, "merchandise"),
    seed=2008,
)

_CONFIG = """\
# Made by `decider demo`. Start the service again with: decider serve --config decider.toml
listen = "127.0.0.1:0"
catalog = "catalog.toml"
policies = "policies.toml"
snapshot = "snapshot"
models = "models"
logbook = "logbook"
"""


@dataclass(frozen=True)
class House:
    """Everything that the demo made on disk."""

    directory: Path
    feedback: Feedback
    training: Training
    n_members: int

    @property
    def config_path(self) -> Path:
        """The service's configuration."""
        return self.directory / "decider.toml"

    @property
    def config(self) -> Config:
        """The service's configuration, read."""
        return load_config(self.config_path)

    def places(self) -> dict[str, str]:
        """What lies where."""
        names = ("feedback", "models", "snapshot", "catalog.toml", "policies.toml", "decider.toml", "logbook")
        return {name.removesuffix(".toml"): str(self.directory / name) for name in names}


def build_house(trial: Path, directory: Path) -> House:
    """Import the trial, train on half of it, build the snapshot of all its members, write the configuration.

    Parameters
    ----------
    trial
        The trial's table, CSV.
    directory
        Where to build; it exists.
    """
    feedback = import_trial(trial, TRIAL, directory / "feedback")
    training = train(feedback, TRAINING)
    registry = Registry(directory / "models")
    for model in training.models:
        registry.publish(model, "decider demo")
    members = directory / "members.parquet"
    # The trial has no ids; a member is known by its row, as in the import.
    pl.scan_csv(trial, infer_schema_length=None).with_row_index("member_id").with_columns(
        pl.col("member_id").cast(pl.Int64)
    ).sink_parquet(members)
    manifest = build_snapshot(members, MEMBERS, directory / "snapshot")
    assets = files("decider.cli.demo") / "hillstrom"
    for name in ("catalog.toml", "policies.toml"):
        (directory / name).write_text((assets / name).read_text("utf-8"), "utf-8")
    (directory / "decider.toml").write_text(_CONFIG, "utf-8")
    return House(directory, feedback, training, manifest.n_members)
