"""`decider experiment`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from decider.experiments import load_experiment
from tests.cli.experiment_files import FEWER, TRIAL
from tests.cli.small_house import N_MEMBERS, done, run, trial

ARMS = (
    TRIAL
    + """
[[metric]]
name = "spend per visit"
column = "spend"
per_column = "visit"
[[guardrail]]
name = "visits"
column = "visit"
"""
)


def written(folder: Path, text: str = FEWER) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text)
    return path


def of_arms(folder: Path, share: float = 1 / 3) -> Path:
    none, rest = f"share = {1 / 3}", f"share = {1 - 1 / 3 - 1 / 3}"
    assert rest in ARMS
    text = ARMS.replace(none, f"share = {share}", 1).replace(rest, f"share = {2 / 3 - share}")
    return written(folder, text)


def test_check(house: Path, tmp_path: Path) -> None:
    path = written(tmp_path)
    shown = done("experiment", "check", path, "--config", house / "decider.toml")
    assert shown["version"] == load_experiment(path).version
    assert [each["share"] for each in shown["cells"]] == [0.1, 0.45, 0.45]
    assert shown["policies_checked"] is True
    assert shown["decision"] == "2026-03-30T00:00:00Z"
    # Two cells of 5,000: 1.96 errors of 0.02 at one look, and more for all of them.
    assert 0.0392 < shown["interval_at_planned_members"] < 0.08
    assert "heuristic" in run("experiment", "check", path, "--config", house / "decider.toml").out


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('policy = "greedy"', 'policy = "none"', "cell['few'].policy must be one of"),
        ('name = "fewer"', 'name = "greedy"', "name must not be a policy's name"),
        ("share = 0.5", "share = 0.6", "cell.share must sum to 1"),
    ],
)
def test_check_refuses(house: Path, tmp_path: Path, old: str, new: str, text: str) -> None:
    answer = run("experiment", "check", written(tmp_path, FEWER.replace(old, new)), "--config",
                 house / "decider.toml", "--json")  # fmt: skip
    assert answer.code == 2
    assert text in answer.error["message"]


def test_assign(house: Path, tmp_path: Path) -> None:
    path = written(tmp_path)
    out = tmp_path / "cells.parquet"
    shown = done("experiment", "assign", path, "--config", house / "decider.toml", "--out", out)
    frame = pl.read_parquet(out)
    assert frame.height == shown["members"] == N_MEMBERS
    counts = dict(frame.group_by("cell").len().iter_rows())
    assert {each["cell"]: each["members"] for each in shown["cells"]} == counts
    keys = frame["member_id"].to_numpy().view("uint64")
    names = pl.Series(load_experiment(path).cell_names).gather(load_experiment(path).assign(keys))
    assert frame["cell"].to_list() == names.to_list()
    again = run("experiment", "assign", path, "--config", house / "decider.toml", "--out", out, "--json")
    assert (again.code, "must not exist yet" in again.error["message"]) == (2, True)


def test_read_feedback(house: Path, tmp_path: Path) -> None:
    answer = run("experiment", "read", house / "feedback", "--experiment", of_arms(tmp_path), "--json")
    shown = answer.json
    means = dict(trial().group_by("arm").agg(pl.col("visit").mean()).iter_rows())
    effects = {(each["metric"], each["cell"]): each["effect"] for each in shown["comparisons"]}
    for arm in ("mens", "womens"):
        found = effects["visit", arm]
        assert found["mean"] == pytest.approx(means[arm], rel=1e-12)
        assert found["interval"][0] < means[arm] - means["none"] < found["interval"][1]
    # Visits are what the messages are for: as a guardrail they tell to stop, and the code says so.
    assert {each["cell"] for each in shown["guardrails"]} == {"mens", "womens"}
    assert answer.code == 1
    assert all(warning.startswith("guardrail visits: stop cell") for warning in shown["warnings"])
    assert "Effects" in run("experiment", "read", house / "feedback", "--experiment", of_arms(tmp_path)).out


def test_read_warns_of_wrong_shares(house: Path, tmp_path: Path) -> None:
    answer = run("experiment", "read", house / "feedback", "--experiment", of_arms(tmp_path, 0.4), "--json")
    assert answer.code == 1
    assert answer.json["warnings"][0].startswith("sample ratio: triggered members are not shared out")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--history", "none.parquet"], "outcome must be given exactly where --history is"),
        (["--history", "none.parquet", "--outcome", "plays"], "history needs long_term.surrogates"),
    ],
)
def test_read_refuses(house: Path, tmp_path: Path, more: list[str], text: str) -> None:
    answer = run("experiment", "read", house / "feedback", "--experiment", of_arms(tmp_path), *more, "--json")
    assert answer.code == 2
    assert text in answer.error["message"]
    nothing = run("experiment", "read", tmp_path / "none", "--experiment", of_arms(tmp_path), "--json")
    assert (nothing.code, "names no known logbook or feedback" in nothing.error["message"]) == (2, True)


def test_from_decisions_to_a_look(own_house: Path) -> None:
    config = ["--config", own_house / "decider.toml"]
    (own_house / "experiments").mkdir()
    path = written(own_house / "experiments", FEWER)
    decided = done(
        "decide", "--policy", "fewer", "--time", "2026-01-06T09:00:00Z", "--request-id", "r1", *config
    )
    assert decided["member_count"] == N_MEMBERS
    answer = run("experiment", "read", own_house / "logbook", "--experiment", path, *config, "--json")
    shown = answer.json
    assert answer.code == 0, shown["warnings"]
    assert sum(shown["members"]) == N_MEMBERS
    tests = {each["stage"]: each for each in shown["ratios"]}
    assert tests["assigned"]["counts"] == tests["triggered"]["counts"] == shown["members"]
    assert tests["delivered"]["untold"] == "no event says that anything was delivered"
    assert shown["comparisons"][0]["effect"]["refused"].startswith("nothing varies")
    assert done("log", "replay", *config)["different"] == []
    path.write_text(FEWER.replace('salt = "one"', 'salt = "two"'))
    changed = run("experiment", "read", own_house / "logbook", "--experiment", path, *config, "--json")
    assert (changed.code, "changed while it ran" in changed.error["message"]) == (2, True)
