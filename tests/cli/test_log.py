"""`decider log`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from msgspec import structs

from decider.logbook import Logbook
from tests.cli.small_house import ARMS, FEATURES, N_MEMBERS, done, run, trial

BASE = ["--arm", "arm", "--control", "none", "--reward", "visit"]

SPEC = """
arm = "arm"
control = "none"
rewards = ["visit", "spend"]
features = ["recency", "bought"]
categories = ["zone"]
shares = "uniform"
member_id = "member"
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "trial.parquet"
    trial(300).with_columns(
        chance=pl.lit(1 / 3), p0=pl.lit(0.2), p1=pl.lit(0.3), p2=pl.lit(0.5)
    ).write_parquet(path)
    return path


def test_import_prints_rows_and_means(house: Path) -> None:
    shown = done("log", "show", house / "feedback")
    by_arm = {row["arm"]: row for row in shown["arms"]}
    assert set(by_arm) == set(ARMS)
    for arm, visit, spend, n in trial().group_by("arm").agg(
        pl.col("visit").mean(), pl.col("spend").mean(), pl.len()
    ).iter_rows():  # fmt: skip
        assert by_arm[arm]["rows"] == n
        assert by_arm[arm]["mean"]["visit"] == pytest.approx(visit, rel=1e-12)
        assert by_arm[arm]["mean"]["spend"] == pytest.approx(spend, rel=1e-12)
    assert by_arm["none"]["control"] is True
    assert shown["features"] == ["recency", "bought", "zone=north", "zone=south"]
    assert done("log", "verify", house / "feedback") == {
        "directory": str(house / "feedback"), "whole": True, "rows": N_MEMBERS,
    }  # fmt: skip
    assert "womens" in run("log", "show", house / "feedback").out


def test_a_spec_file_does_the_same(house: Path, tmp_path: Path) -> None:
    spec = tmp_path / "trial.toml"
    spec.write_text(SPEC)
    made = done("log", "import", house / "trial.parquet", "--spec", spec, "--out", tmp_path / "f")
    assert made["version"] == done("log", "show", house / "feedback")["version"]


@pytest.mark.parametrize(
    ("options", "chances"),
    [
        (["--propensity", "uniform"], (1 / 3, 1 / 3, 1 / 3)),
        (["--share", "none=0.2", "--share", "mens=0.3", "--share", "womens=0.5"], (0.2, 0.3, 0.5)),
        (
            ["--propensity", "none=p0", "--propensity", "mens=p1", "--propensity", "womens=p2"],
            (0.2, 0.3, 0.5),
        ),
    ],
)
def test_propensities(table: Path, tmp_path: Path, options: list[str], chances: tuple[float, ...]) -> None:
    out = tmp_path / "f"
    done("log", "import", table, *BASE, *FEATURES, *options, "--out", out)
    read = pl.read_parquet(out / "*.parquet")
    for arm, chance in zip(ARMS, chances, strict=True):
        assert read[f"p:{arm}"].unique().to_list() == [pytest.approx(chance)]


def test_the_propensity_of_the_arm_taken(table: Path, tmp_path: Path) -> None:
    done("log", "import", table, *BASE, *FEATURES, "--propensity", "chance", "--out", tmp_path / "f")
    read = pl.read_parquet(tmp_path / "f" / "*.parquet")
    assert read["propensity"].to_list() == [1 / 3] * 300


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([*BASE], "features"),
        ([*BASE, *FEATURES], "shares"),
        ([*BASE, *FEATURES, "--propensity", "uniform", "--share", "mens=1"], "together with propensity"),
        ([*BASE, *FEATURES, "--share", "mens=much"], "must be a number"),
        ([*BASE, *FEATURES, "--propensity", "uniform", "--propensity", "chance"], "propensity"),
        ([*BASE, *FEATURES, "--propensity", "chanse"], "chance"),
        (
            ["--arm", "arn", "--control", "none", "--reward", "visit", *FEATURES, "--propensity", "uniform"],
            "arm",
        ),
        (
            [
                "--arm",
                "arm",
                "--control",
                "nobody",
                "--reward",
                "visit",
                *FEATURES,
                "--propensity",
                "uniform",
            ],
            "nobody",
        ),
        (
            ["--arm", "arm", "--control", "none", "--reward", "zone", *FEATURES, "--propensity", "uniform"],
            "zone",
        ),
        (["--control", "none", *FEATURES], "arm must be given"),
        (["--spec", "no.toml"], "no.toml"),
        (["--spec", "no.toml", *BASE], "spec"),
    ],
)
def test_bad_input(table: Path, tmp_path: Path, options: list[str], named: str) -> None:
    answer = run("log", "import", table, *options, "--out", tmp_path / "f")
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert not (tmp_path / "f").exists()


def test_a_spec_with_a_slip_is_named(table: Path, tmp_path: Path) -> None:
    spec = tmp_path / "trial.toml"
    for text, named in ((SPEC + "typo = 1\n", "typo"), ("arm = 3", "arm"), ("arm = ", str(spec))):
        spec.write_text(text)
        answer = run("log", "import", table, "--spec", spec, "--out", tmp_path / "f")
        assert answer.code == 2
        assert named in answer.err


def test_feedback_is_never_replaced(house: Path) -> None:
    answer = run(
        "log", "import", house / "trial.parquet", *BASE, *FEATURES, "--propensity", "uniform", "--out",
        house / "feedback", "--json",
    )  # fmt: skip
    assert answer.code == 2
    assert answer.error["type"] == "Conflict"


def test_a_changed_byte_of_feedback_is_found(own_house: Path) -> None:
    part = next((own_house / "feedback").glob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    for command in ("verify", "show"):
        answer = run("log", command, own_house / "feedback", "--json")
        assert answer.code == 3
        assert part.name in answer.error["message"]


def test_a_logbook_is_shown_and_verified(own_house: Path) -> None:
    config = own_house / "decider.toml"
    run_made = done("decide", "--config", config, "--volume", "100", "--request-id", "monday")
    one = done(
        "decide", "--config", config, "--member", "1007", "--request-id", "one", "--policy", "heuristic"
    )
    shown = done("log", "show", own_house / "logbook", "--limit", "3")
    assert shown["n_decisions"] == N_MEMBERS + 1
    assert shown["n_messages"] == run_made["volume"] + len(one["messages"])
    assert sum(shown["per_stratum"].values()) == N_MEMBERS + 1
    assert sum(shown["per_candidate"].values()) == shown["n_messages"]
    assert [each["request_id"] for each in shown["runs"]] == ["monday"]
    assert shown["runs"][0]["n_decided"] == N_MEMBERS
    assert shown["runs"][0]["finished"] is True
    assert len(shown["latest"]) == 3
    assert shown["latest"][-1]["decision_id"] == one["decision_id"]
    about = done("log", "show", own_house / "logbook", "--member", "1007")
    assert about["n_decisions"] == 2
    assert {each["member_id"] for each in about["latest"]} == {1007}
    assert done("log", "verify", own_house / "logbook")["rows"] == N_MEMBERS + 1
    assert one["decision_id"] in run("log", "show", own_house / "logbook").out

    segment = next((own_house / "logbook" / "segments").glob("*.parquet"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    answer = run("log", "verify", own_house / "logbook", "--json")
    assert answer.code == 3
    assert segment.name in answer.error["message"]


def test_no_logbook_there(tmp_path: Path) -> None:
    for command in ("show", "verify"):
        assert run("log", command, tmp_path / "none").code == 2
        answer = run("log", command, tmp_path)
        assert answer.code == 3
        assert "does not exist" in answer.err


def test_every_logged_decision_comes_out_the_same(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own_house / "decider.toml"
    done("decide", "--config", config, "--volume", "30%", "--request-id", "run", "--policy", "thompson")
    one = done(
        "decide", "--config", config, "--member", "1007", "--request-id", "one", "--policy", "thompson"
    )
    replayed = done("log", "replay", "--config", config)
    assert replayed == {"decisions": N_MEMBERS + 1, "different": []}

    # A record that is not what the engine decides is told of: here one of another stratum.
    with Logbook.open(own_house / "logbook", read_only=True) as log:
        tampered = [structs.replace(each, stratum=(each.stratum + 1) % 3) for each in log.single_decisions()]
    monkeypatch.setattr(Logbook, "single_decisions", lambda log: iter(tampered))
    answer = run("log", "replay", "--config", config, "--json")
    assert answer.code == 3
    assert answer.json["different"] == [one["decision_id"]]
    assert "1 came out otherwise" in run("log", "replay", "--config", config).out


def test_replay_needs_a_logbook(house: Path) -> None:
    answer = run("log", "replay", "--config", house / "decider.toml", "--json")
    assert (answer.code, answer.error["type"]) == (3, "NotReady")
