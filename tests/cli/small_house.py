"""A small trial and everything that decisions need, made with the commands themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from typer.testing import CliRunner

from decider.cli.main import app

N_MEMBERS = 3_000
ARMS = ("none", "mens", "womens")
FEATURES = ["--feature", "recency", "--feature", "bought", "--category", "zone"]

CATALOG = """
name = "small"

[caps]
member = { per_decision = 1 }

[[channels]]
name = "email"

[[messages]]
id = "mens"
type = "merchandise"
channels = ["email"]
priority = "12 - recency"

[[messages]]
id = "womens"
type = "merchandise"
channels = ["email"]
priority = "recency"
audience = "recency > 1"
"""

POLICIES = """
default = "greedy"

[[policy]]
name = "greedy"
kind = "greedy"
model = "visits"
holdout = 0.02
explore_counts = [0.5, 0.5]

[[policy]]
name = "thompson"
kind = "thompson"
model = "visits"
explore_counts = [0.5, 0.5]

[[policy]]
name = "heuristic"
kind = "heuristic"
explore_counts = [0.5, 0.5]
"""


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object on one line and nothing else."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that standard error tells as JSON, on its last line."""
        found: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return found


def run(*args: object) -> Answer:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], prog_name="decider")
    return Answer(result.exit_code, result.stdout, result.stderr)


def done(*args: object) -> Any:
    """Run a command that must end well, and give its JSON."""
    answer = run(*args, "--json")
    assert answer.code == 0, answer.err
    return answer.json


def trial(n_members: int = N_MEMBERS, seed: int = 5) -> pl.DataFrame:
    """A randomised trial with an effect that depends on `bought`."""
    rng = np.random.default_rng(seed)
    arm = rng.permutation(n_members) % 3
    bought = rng.integers(0, 2, n_members)
    recency = rng.integers(1, 13, n_members)
    effect = np.select([arm == 1, arm == 2], [0.1 + 0.2 * bought, 0.05 + 0.3 * (1 - bought)], 0.0)
    visit = rng.random(n_members) < 0.1 + 0.01 * recency + effect
    return pl.DataFrame(
        {
            "member": np.arange(1000, 1000 + n_members),
            "recency": recency,
            "bought": bought,
            "zone": pl.Series(["north", "south"]).gather(rng.integers(0, 2, n_members)),
            "arm": pl.Series(ARMS).gather(arm),
            "visit": visit.astype(np.int64),
            "spend": np.where(visit, rng.gamma(2.0, 20.0, n_members), 0.0),
        }
    )


def make_feedback(folder: Path) -> Path:
    """Import the trial."""
    trial().write_parquet(folder / "trial.parquet")
    out = folder / "feedback"
    options = ["--arm", "arm", "--control", "none", "--reward", "visit", "--reward", "spend"]
    done("log", "import", folder / "trial.parquet", *options, *FEATURES, "--propensity", "uniform",
         "--id", "member", "--out", out)  # fmt: skip
    return out


def make_snapshot(folder: Path) -> Path:
    """Build the snapshot of the trial's members."""
    trial().drop("arm", "visit", "spend").write_parquet(folder / "members.parquet")
    out = folder / "snapshot"
    done("snapshot", "build", folder / "members.parquet", "--id", "member", *FEATURES,
         "--consent", "email=true", "--out", out)  # fmt: skip
    return out


def make_house(folder: Path) -> Path:
    """Make all of it; the configuration's path is what comes back."""
    feedback = make_feedback(folder)
    make_snapshot(folder)
    done("train", feedback, "--reward", "visit", "--name", "visits", "--models", folder / "models",
         "--half", "all")  # fmt: skip
    (folder / "catalog.toml").write_text(CATALOG)
    (folder / "policies.toml").write_text(POLICIES)
    config = folder / "decider.toml"
    config.write_text('listen = "127.0.0.1:0"\n')
    return config
