"""`decider explain`, in process; with a server see test_serve."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from decider.logbook import Logbook
from tests.cli.small_house import FEATURES, done, run


@pytest.fixture
def decided(own_house: Path, tmp_path: Path) -> pl.DataFrame:
    out = tmp_path / "results.parquet"
    done("decide", "--config", own_house / "decider.toml", "--volume", "30%", "--out", out)
    return pl.read_parquet(out)


def test_every_kind_of_decision_is_reproduced(own_house: Path, decided: pl.DataFrame) -> None:
    n_messages = pl.col("candidates").list.len()
    for stratum, wanted in (("exploit", 1), ("exploit", 0), ("explore", 1), ("explore", 0), ("holdout", 0)):
        row = decided.filter((pl.col("stratum") == stratum) & (n_messages == wanted)).row(0, named=True)
        explained = done("explain", row["decision_id"], "--config", own_house / "decider.toml")
        assert explained["reproduced"] is True
        assert explained["decision"]["member_id"] == row["member_id"]
        assert explained["decision"]["stratum"] == stratum
        assert [each["candidate"] for each in explained["decision"]["messages"]] == row["candidates"]
        assert {each["candidate"] for each in explained["trace"]} == {"mens@email", "womens@email"}
        ended = {
            "holdout": {"holdout"},
            "explore": {"drawn"},
            "exploit": {"price", "member_cap", "no_candidate"},
        }
        assert explained["binding_cap"] in ended[stratum]


def test_nobody_left_out_was_worth_the_price(own_house: Path, decided: pl.DataFrame) -> None:
    nothing = decided.filter((pl.col("stratum") == "exploit") & (pl.col("candidates").list.len() == 0))
    explained = done("explain", nothing["decision_id"][0], "--config", own_house / "decider.toml")
    assert explained["distance_to_price"] <= 0
    assert explained["runner_up"]["gain_after_set"] <= explained["decision"]["price"]


def test_for_people_and_beside_a_writer(own_house: Path, decided: pl.DataFrame) -> None:
    with Logbook.open(own_house / "logbook"):
        answer = run("explain", decided["decision_id"][0], "--config", own_house / "decider.toml")
    assert answer.code == 0, answer.err
    for text in ("All candidates", "womens@email", "reproduced", "what ended the set"):
        assert text in answer.out


def test_bad_input(own_house: Path, decided: pl.DataFrame) -> None:
    for name in ("never", decided["decision_id"][0].replace("-0", "-9999999")):
        answer = run("explain", name, "--config", own_house / "decider.toml", "--json")
        assert (answer.code, answer.error["type"]) == (2, "NotFound")
    assert run("explain").code == 2


def test_no_logbook_there(house: Path) -> None:
    answer = run("explain", "any-0", "--config", house / "decider.toml", "--json")
    assert (answer.code, answer.error["type"]) == (3, "NotReady")


def test_another_snapshot_is_said_so(own_house: Path, decided: pl.DataFrame) -> None:
    options = ("--id", "member", *FEATURES, "--consent", "email=true", "--time-zone", "Europe/Amsterdam")
    snapshot = own_house / "snapshot"
    done("snapshot", "build", own_house / "members.parquet", *options, "--out", snapshot, "--replace")
    answer = run("explain", decided["decision_id"][0], "--config", own_house / "decider.toml", "--json")
    assert (answer.code, answer.error["type"]) == (3, "NotReady")
    assert "snapshot" in answer.error["message"]
