"""The example configuration and policies: every line is the default or works with the example catalog."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from decider.catalog import load_catalog
from decider.config import Config, load_config
from decider.decision.parts import bind_parts
from decider.decision.policy import Policy, load_policies, parse_policies
from decider.experiments import Experiment, load_experiment
from decider.experiments.spec import Cell, Guardrail, LongTerm, Metric
from decider.members import Snapshot
from decider.models import RawMap, UpliftModel
from tests.cli.small_house import done

EXAMPLES = Path(__file__).parents[2] / "examples"
FEATURES = ("tenure_days", "days_since_last_play")


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    rng = np.random.default_rng(9)
    n = 20
    frame = pl.DataFrame(
        {
            "member_id": range(n),
            "tenure_days": rng.integers(0, 900, n),
            "days_since_last_play": rng.integers(0, 60, n),
            "n_unfinished": rng.integers(0, 3, n),
            "affinity_drama": rng.random(n),
            "affinity_comedy": rng.random(n),
            "country": ["NL", "US"] * (n // 2),
            **{
                name: rng.random(n) < 0.5
                for name in (
                    "watched_harbour_lights",
                    "watched_season_1",
                    "watched_season_2",
                    "opened_last_look_ahead",
                )
            },
        }
    )
    frame.write_parquet(tmp_path / "members.parquet")
    consent = [part for name in ("email", "push", "sms", "in_app") for part in ("--consent", f"{name}=true")]
    features = [part for name in FEATURES for part in ("--feature", name)]
    done("snapshot", "build", tmp_path / "members.parquet", "--id", "member_id", *features, *consent, "--out",
         tmp_path / "snapshot")  # fmt: skip
    return Snapshot.open(tmp_path / "snapshot")


def with_models() -> str:
    """The policies file with the lines behind ``#:`` in force."""
    return re.sub(r"^#: ?", "", (EXAMPLES / "policies.toml").read_text(), flags=re.MULTILINE)


def test_the_configuration_shows_every_default() -> None:
    text = (EXAMPLES / "decider.toml").read_text()
    shown = {line.split(" = ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert shown == set(Config.__struct_fields__) - {"directory"}
    config = load_config(EXAMPLES / "decider.toml")
    assert msgspec.structs.replace(config, directory=".") == Config()


def test_the_policies_decide_with_the_example_catalog(snapshot: Snapshot) -> None:
    policies = load_policies(EXAMPLES / "policies.toml")
    assert set(policies.policies) == {"heuristic", "random"}
    assert policies.default == "heuristic"
    parts = bind_parts(load_catalog(EXAMPLES / "catalog.toml"), snapshot, policies, {})
    assert set(parts.bound) == {"heuristic", "random"}


def test_so_do_those_that_need_a_model(snapshot: Snapshot) -> None:
    policies = parse_policies(with_models())
    kinds = {policy.kind for policy in policies.policies.values()}
    assert kinds == {"heuristic", "random", "thompson", "greedy", "ucb", "cautious", "epsilon_greedy"}
    feature_map = RawMap.fit(snapshot.features, snapshot.feature_names)
    size = feature_map.n_outputs
    model = UpliftModel(
        name="visits",
        feature_map=feature_map,
        posterior_names=("top-picks",),
        mean=np.zeros((1, size)),
        covariance=np.eye(size)[None],
        reward="visit",
    )
    parts = bind_parts(load_catalog(EXAMPLES / "catalog.toml"), snapshot, policies, {"visits": model})
    assert parts.bound["thompson"].model is model


def test_every_field_of_a_policy_is_shown() -> None:
    text = with_models()
    for field in Policy.__struct_fields__:
        assert re.search(rf"^{field} = ", text, re.MULTILINE), field


def test_the_experiment_can_be_run_with_the_policies() -> None:
    found = load_experiment(EXAMPLES / "experiment.toml")
    known = load_policies(EXAMPLES / "policies.toml").policies
    assert {cell.policy for cell in found.cell} | {found.otherwise} <= set(known)
    assert found.name not in known


def test_every_field_of_an_experiment_is_shown() -> None:
    text = (EXAMPLES / "experiment.toml").read_text()
    fields = {
        name
        for struct in (Experiment, Cell, Guardrail, LongTerm, Metric)
        for name in struct.__struct_fields__
    }
    for field in fields - {"column", "per_column"}:  # of feedback, not of a logbook
        assert re.search(rf"^(\[\[?)?{field}( = |\])", text, re.MULTILINE), field
