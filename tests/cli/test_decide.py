"""`decider decide`, in process; with a server see test_serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from decider.cli.one import typed_id
from decider.cli.results import ResultFile
from decider.decision import sizes
from decider.decision.held import Held
from decider.errors import InvalidInput
from tests.cli.small_house import N_MEMBERS, done, run

MONDAY = ("--request-id", "monday", "--time", "2026-01-05T09:00:00Z")


def test_a_volume_is_met_and_the_file_holds_every_member(own_house: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.parquet"
    config = own_house / "decider.toml"
    summary = done("decide", "--config", config, "--volume", "30%", "--out", out, *MONDAY)
    table = pl.read_parquet(out)
    sent = table["candidates"].list.len()
    assert summary["volume"] == int(sent.sum()) == int(0.3 * N_MEMBERS)
    assert summary["member_count"] == table.height == table["member_id"].n_unique() == N_MEMBERS
    assert summary["per_message"] == {
        name: int(table["candidates"].list.contains(f"{name}@email").sum()) for name in ("mens", "womens")
    }
    assert summary["per_channel"] == {"email": summary["volume"]}
    assert summary["per_set_size"] == [N_MEMBERS - summary["volume"], summary["volume"]]
    assert summary["messaged_member_count"] == int((sent > 0).sum())
    assert summary["expected_incremental_reward"] == pytest.approx(
        float(table["expected_incremental_reward"].cast(pl.Float64).sum()), rel=1e-6
    )
    assert summary["decision_time"] == "2026-01-05T09:00:00Z"
    assert summary["price"] > 0
    # The certificate: whoever was chosen by price gains at least the price.
    exploited = table.filter((pl.col("stratum") == "exploit") & (sent > 0))
    assert exploited["marginal_gain"].list.min().min() >= summary["price"]
    assert set(table.filter(pl.col("stratum") == "holdout")["candidates"].list.len()) == {0}
    assert list(tmp_path.glob(".*")) == []


def test_budgets_are_kept_and_the_run_is_resumed_with_them(
    own_house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "SEGMENT", 1_000)
    config, out = own_house / "decider.toml", tmp_path / "results.parquet"
    options = ("decide", "--config", config, "--budget", "email=20%", "--policy", "thompson")
    with monkeypatch.context() as during:
        interrupted = Interrupted()
        during.setattr(ResultFile, "write", lambda results, frame: interrupted(results, frame))
        assert run(*options, *MONDAY, "--out", out).code == 130
    resumed = done("decide", "--config", config, "--resume", "--request-id", "monday", "--out", out)
    (budget,) = resumed["budgets"]
    assert budget["budget"] == {"channel": "email", "messages": N_MEMBERS // 5, "cost": None}
    assert budget["spent"] == resumed["volume"] == N_MEMBERS // 5
    assert resumed["gap"] == 0.0
    exploited = pl.read_parquet(out).filter(pl.col("stratum") == "exploit")
    assert exploited["marginal_gain"].list.min().min() > budget["price"] > 0
    replayed = done("log", "replay", "--config", config)
    assert replayed == {"decisions": N_MEMBERS, "different": []}
    (logged,) = done("log", "show", own_house / "logbook")["runs"]
    assert [each["price"] for each in logged["budgets"]] == [budget["price"]]
    said = run(*options, *MONDAY, "--out", tmp_path / "again.parquet")
    assert said.code == 0, said.err
    for text in ("Budgets", "email", "messages", "below the most that any choice within the budgets"):
        assert text in said.out


def test_a_run_that_stops_before_its_prices_are_found_says_so(
    own_house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_house / "decider.toml"
    options = ("decide", "--config", config, "--budget", "email=20%", *MONDAY)

    def interrupted(_: Held) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(Held, "seal", interrupted)
        stopped = run(*options)
    assert stopped.code == 130
    assert "nothing is decided yet" in stopped.err
    assert "--resume --request-id monday" in stopped.err
    resumed = done("decide", "--config", config, "--resume", "--request-id", "monday")
    assert resumed == done(*options)


def test_a_cost_budget_of_all_channels(own_house: Path) -> None:
    options = ("decide", "--config", own_house / "decider.toml", "--cost-budget", "250.5", "--dry-run")
    summary = done(*options, "--policy", "thompson")
    assert summary["cost"] == summary["volume"] == 250
    assert summary["budgets"][0]["budget"] == {"channel": "", "messages": None, "cost": 250.5}


def test_a_dry_run_logs_nothing_and_decides_alike(own_house: Path) -> None:
    options = ("decide", "--config", own_house / "decider.toml", "--price", "0.1", *MONDAY)
    dry = done(*options, "--dry-run")
    assert done("log", "show", own_house / "logbook")["n_decisions"] == 0
    real = done(*options)
    assert dry | {"dry_run": False} == real
    assert real["price"] == pytest.approx(0.1)
    assert done("log", "show", own_house / "logbook")["n_decisions"] == N_MEMBERS


def test_the_same_request_is_answered_from_the_log(own_house: Path, tmp_path: Path) -> None:
    options = ("decide", "--config", own_house / "decider.toml", "--volume", "500")
    first = done(*options, *MONDAY, "--out", tmp_path / "a.parquet")
    again = done(*options, *MONDAY, "--out", tmp_path / "b.parquet")
    assert first | {"out": None} == again | {"out": None}
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    other = run("decide", "--config", own_house / "decider.toml", "--volume", "501", *MONDAY, "--json")
    assert (other.code, other.error["type"]) == (2, "Conflict")


class Interrupted:
    """Ctrl-C at the second table that is written."""

    def __init__(self) -> None:
        self.n_calls = 0
        self.write = ResultFile.write

    def __call__(self, results: ResultFile, frame: pl.DataFrame) -> None:
        self.n_calls += 1
        if self.n_calls == 2:
            raise KeyboardInterrupt
        self.write(results, frame)


@pytest.mark.parametrize(
    "choice", [(), ("--policy", "thompson"), ("--defer-propensities",), ("--epoch", "7")]
)
def test_what_breaks_off_is_resumed(
    own_house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sizes, "SEGMENT", 1_000)
    config, out = own_house / "decider.toml", tmp_path / "results.parquet"
    options = ("decide", "--config", config, "--volume", "30%", *choice)
    with monkeypatch.context() as during:
        interrupted = Interrupted()
        during.setattr(ResultFile, "write", lambda results, frame: interrupted(results, frame))
        answer = run(*options, *MONDAY, "--out", out)
    assert answer.code == 130
    assert "what is decided is durable" in answer.err
    assert "--resume --request-id monday" in answer.err
    assert not out.exists()
    assert list(tmp_path.glob(".*")) == []
    n_logged = done("log", "show", own_house / "logbook")["n_decisions"]
    assert 1_000 <= n_logged < N_MEMBERS

    resumed = done("decide", "--config", config, "--resume", "--request-id", "monday", "--out", out)
    assert resumed["member_count"] == N_MEMBERS
    assert done("log", "show", own_house / "logbook")["n_decisions"] == N_MEMBERS
    whole = done(*options, *MONDAY, "--out", tmp_path / "whole.parquet")
    assert whole | {"out": None} == resumed | {"out": None}
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "whole.parquet"))


def test_one_member(own_house: Path) -> None:
    config = own_house / "decider.toml"
    options = ("decide", "--config", config, "--member", "1007", "--request-id", "one", "--time",
               "2026-01-05T09:00:00Z", "--policy", "thompson")  # fmt: skip
    decided = done(*options)
    assert decided["member_id"] == 1007
    assert decided["already_decided"] is False
    assert decided["trace"] == []
    again = done(*options, "--trace")
    assert again["already_decided"] is True
    assert again["messages"] == decided["messages"]
    dry = done("decide", "--config", config, "--member", "1008", "--trace", "--dry-run")
    assert {each["candidate"] for each in dry["trace"]} == {"mens@email", "womens@email"}
    assert dry["decision_id"] == ""
    said = run("decide", "--config", config, "--member", "1009", "--trace")
    assert said.code == 0
    for text in ("Message set", "womens@email", "eligible, or why not", "1009"):
        assert text in said.out
    assert "1,009" not in said.out


@pytest.mark.parametrize(
    ("text", "id_type", "member"),
    [
        ("17", "auto", 17),
        ("-17", "int64", -17),
        ("007", "auto", "007"),
        ("9223372036854775808", "auto", "9223372036854775808"),
        ("17", "string", "17"),
    ],
)
def test_ids_are_numbers_where_they_are_written_so(text: str, id_type: str, member: int | str) -> None:
    assert typed_id(text, id_type) == member


@pytest.mark.parametrize(("text", "id_type"), [("007", "int64"), ("anna", "int64"), ("17", "uuid")])
def test_ids_that_are_no_numbers_are_refused(text: str, id_type: str) -> None:
    with pytest.raises(InvalidInput, match="must be"):
        typed_id(text, id_type)


def test_only_these_channels(own_house: Path) -> None:
    options = ("decide", "--config", own_house / "decider.toml", "--channels", "email", "--dry-run")
    assert done(*options)["volume"] > 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--volume", "many"], "volume"),
        (["--volume", "-3"], "volume"),
        (["--volume", "130%"], "volume"),
        (["--volume", "10", "--price", "0.1"], "price"),
        (["--price", "nan"], "price"),
        (["--budget", "email"], "budget must be name=value"),
        (["--budget", "email=many"], "budget must be a number of sends"),
        (["--budget", "email=-3"], "budget must be a number of sends"),
        (["--budget", "fax=3"], "must be one of email, got 'fax'"),
        (["--budget", "email=3", "--budget", "email=4"], "only once"),
        (["--budget", "email=3", "--volume", "3"], "must not be given together with volume"),
        (["--budget", "email=3", "--price", "0.1"], "must not be given together with price"),
        (["--budget", "email=3", "--cost-budget", "email=4"], "without a --budget"),
        (["--budget", "email=3", "--cost-budget", "4"], "where there are other budgets"),
        (["--budget", "email=3"], "that are drawn at random whatever the price"),
        (["--cost-budget", "4", "--cost-budget", "5"], "given once for all channels"),
        (["--cost-budget", "nan"], "cost-budget must be a cost >= 0"),
        (["--cost-budget", "email=-1"], "cost-budget must be a cost >= 0"),
        (["--cost-budget", "email=1", "--channels", "push"], "push"),
        (["--resume", "--request-id", "never", "--budget", "email=3"], "resume"),
        (["--price", "cheap"], "--price"),
        (["--policy", "best"], "policy"),
        (["--channels", "email,fax"], "fax"),
        (["--time", "soon"], "time"),
        (["--time", "1999-01-01T00:00:00Z"], "decision_time"),
        (["--request-id", ""], "request_id"),
        (["--out", "results.xlsx"], "out"),
        (["--out", "no/such/folder/r.parquet"], "out"),
        (["--resume"], "resume"),
        (["--resume", "--request-id", "never"], "never"),
        (["--resume", "--request-id", "never", "--volume", "3"], "resume"),
        (["--resume", "--request-id", "never", "--dry-run"], "resume"),
        (["--trace"], "trace"),
        (["--member", "1"], "member"),
        (["--member", "anna"], "member"),
        (["--member", "1007", "--volume", "3"], "volume"),
        (["--member", "1007", "--budget", "email=3"], "budget must not be given together with --member"),
        (["--member", "1007", "--cost-budget", "3"], "cost-budget must not be given together with --member"),
        (["--member", "1007", "--out", "r.parquet"], "out"),
    ],
)
def test_bad_input(own_house: Path, options: list[str], named: str) -> None:
    answer = run("decide", "--config", own_house / "decider.toml", *options)
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert answer.out == ""
    if (own_house / "logbook").is_dir():
        assert done("log", "show", own_house / "logbook")["n_decisions"] == 0


def test_results_are_not_replaced_unasked(own_house: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.parquet"
    out.write_bytes(b"mine")
    options: tuple[Any, ...] = ("decide", "--config", own_house / "decider.toml", "--dry-run", "--out", out)
    answer = run(*options, "--json")
    assert (answer.code, answer.error["type"]) == (2, "Conflict")
    assert out.read_bytes() == b"mine"
    done(*options, "--replace")
    assert pl.read_parquet(out).height == N_MEMBERS


def test_what_is_missing_is_named(own_house: Path) -> None:
    (own_house / "policies.toml").write_text('[[policy]]\nname = "p"\nkind = "greedy"\nmodel = "clicks"\n'
                                             "explore_counts = [0.5, 0.5]\n")  # fmt: skip
    answer = run("decide", "--config", own_house / "decider.toml", "--json")
    assert (answer.code, answer.error["type"]) == (3, "NotReady")
    assert "clicks" in answer.error["message"]
    answer = run("decide", "--config", own_house / "none.toml", "--json")
    assert (answer.code, answer.error["type"]) == (2, "InvalidInput")


def test_no_server_there() -> None:
    answer = run("decide", "--server", "127.0.0.1:1", "--volume", "3", "--json")
    assert (answer.code, answer.error["type"]) == (4, "Unavailable")
    for options, named in ((["--volume", "30%"], "volume"), (["--resume", "--request-id", "a"], "time")):
        answer = run("decide", "--server", "127.0.0.1:1", *options)
        assert answer.code == 2
        assert named in answer.err
