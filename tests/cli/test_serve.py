"""`decider serve` as a process of its own, and every command that asks a server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.small_house import N_MEMBERS, done, run

MONDAY = ("--request-id", "monday", "--time", "2026-01-05T09:00:00Z")


class Served:
    """A server that runs, and what it printed."""

    def __init__(self, house: Path, process: subprocess.Popen[str]) -> None:
        self.house, self.process = house, process
        assert process.stdout is not None
        line = process.stdout.readline()
        self.said: dict[str, Any] = json.loads(line) if line else {}
        self.address = str(self.said.get("address"))


@pytest.fixture(scope="module", params=[0, 2], ids=["alone", "fronts"])
def served(
    request: pytest.FixtureRequest, house: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "house"
    shutil.copytree(house, folder)
    command = [
        sys.executable,
        "-m",
        "decider.cli.main",
        "serve",
        "--config",
        str(folder / "decider.toml"),
        "--processes",
        str(request.param),
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        served = Served(folder, process)
        yield served
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "", "standard output holds the address and nothing else"
    assert all(json.loads(line)["event"] for line in err.splitlines())


def test_it_says_where_it_is(served: Served) -> None:
    assert served.said["port"] > 0
    assert served.said["members"] == N_MEMBERS
    assert served.said["policies"] == ["greedy", "heuristic", "thompson"]


def test_a_run_is_the_same_as_in_process(served: Served, own_house: Path, tmp_path: Path) -> None:
    there = done(
        "decide", "--server", served.address, "--volume", "900", *MONDAY, "--out", tmp_path / "there.parquet"
    )
    here = done(
        "decide", "--config", own_house / "decider.toml", "--volume", "30%", *MONDAY, "--out",
        tmp_path / "here.parquet",
    )  # fmt: skip
    assert there | {"out": None} == here | {"out": None}
    columns = ["decision_id", "member_id", "stratum", "candidates", "marginal_gain", "propensity"]
    a, b = (pl.read_parquet(tmp_path / name).select(columns) for name in ("there.parquet", "here.parquet"))
    assert a.to_dicts() == b.to_dicts()
    again = done(
        "decide", "--server", served.address, "--volume", "900", *MONDAY, "--resume", "--out",
        tmp_path / "again.parquet",
    )  # fmt: skip
    assert again | {"out": None} == there | {"out": None}


def test_budgets_are_the_same_as_in_process(served: Served, own_house: Path) -> None:
    there = done("decide", "--server", served.address, "--budget", "email=600", *MONDAY, "--dry-run")
    config = own_house / "decider.toml"
    here = done("decide", "--config", config, "--budget", "email=20%", *MONDAY, "--dry-run")
    assert there == here
    assert there["budgets"][0]["spent"] == there["volume"] == 600
    refused = run("decide", "--server", served.address, "--budget", "email=20%")
    assert refused.code == 2
    assert "only the server knows how many members there are" in refused.err


def test_one_member_and_why(served: Served) -> None:
    decided = done(
        "decide", "--server", served.address, "--member", "1007", "--policy", "thompson", "--trace"
    )
    assert decided["member_id"] == 1007
    assert len(decided["trace"]) == 2
    there = done("explain", decided["decision_id"], "--server", served.address)
    here = done("explain", decided["decision_id"], "--config", served.house / "decider.toml")
    assert there["reproduced"] is True
    assert there == here
    assert run("explain", decided["decision_id"], "--server", served.address).code == 0


def test_errors_of_the_server_are_those_of_the_command(served: Served) -> None:
    for args, kind, code in (
        (("decide", "--member", "1"), "NotFound", 2),
        (("decide", "--member", "1007", "--id-type", "string"), "InvalidInput", 2),
        (("decide", "--volume", "3", "--policy", "best"), "InvalidInput", 2),
        (("decide", "--budget", "fax=3"), "UnknownName", 2),
        (("explain", "never"), "NotFound", 2),
    ):
        answer = run(*args, "--server", served.address, "--json")
        assert (answer.code, answer.error["type"]) == (code, kind), answer.err
        assert answer.out == ""


def test_the_logbook_is_the_servers_while_it_runs(served: Served) -> None:
    config = served.house / "decider.toml"
    answer = run("decide", "--config", config, "--volume", "3", "--json")
    assert (answer.code, answer.error["type"]) == (3, "NotReady")
    checks = {each["name"]: each["verdict"] for each in done("doctor", "--config", config)["checks"]}
    assert checks["logbook"] == "warn"
    assert run("log", "show", served.house / "logbook").code == 0


def test_models_are_published_and_rolled_back_on_it(served: Served, tmp_path: Path) -> None:
    server = ("--server", served.address)
    trained = done(
        "train", served.house / "feedback", "--reward", "visit", "--name", "visits", "--seed", "3",
        "--no-publish", "--out", tmp_path,
    )  # fmt: skip
    (before,) = (each for each in done("model", "list", *server)["models"] if each["serving"])
    published = done("model", "publish", trained["models"][0]["directory"], *server)
    assert published["serving"] is True
    assert published["version"] == trained["models"][0]["version"] != before["version"]
    shown = done("model", "show", "visits", *server)
    assert shown["version"] == published["version"]
    assert shown["trained"]["seed"] == 3
    back = done("model", "roll-back", "visits", "--expected-version", published["version"], *server)
    assert back["version"] == before["version"]
    answer = run("model", "roll-back", "visits", "--expected-version", published["version"], *server)
    assert answer.code == 3
    answer = run("model", "show", "visits", "--version", "sha256:0", *server, "--json")
    assert (answer.code, answer.error["type"]) == (2, "NotFound")


def test_reload(served: Served) -> None:
    policies = served.house / "policies.toml"
    before = policies.read_text()
    try:
        policies.write_text(
            before + '\n[[policy]]\nname = "new"\nkind = "heuristic"\nexplore_counts = [1.0]\n'
        )
        reloaded = done("model", "reload", "--server", served.address)
        assert "new" in reloaded["policies"]
        policies.write_text("policy = 3")
        answer = run("model", "reload", "--server", served.address)
        assert answer.code in (2, 3)
        assert (
            done("decide", "--server", served.address, "--member", "1009", "--policy", "new")["policy"]
            == "new"
        )
    finally:
        policies.write_text(before)
        done("model", "reload", "--server", served.address)


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--config", "none.toml"], 2, "none.toml"),
        (["--listen", "nowhere"], 2, "nowhere"),
        (["--listen", "256.0.0.1:1"], 2, "256.0.0.1"),
        (["--listen", "127.0.0.1:65536"], 2, "at most 65535"),
        (["--listen", ""], 2, "must be host:port"),
    ],
)
def test_bad_input(own_house: Path, options: list[str], code: int, named: str) -> None:
    config = [] if "--config" in options else ["--config", own_house / "decider.toml"]
    command = [sys.executable, "-m", "decider.cli.main", "serve", *map(str, config), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == code, ended.stderr
    assert named in ended.stderr
    assert ended.stdout == ""


def test_it_does_not_start_on_a_broken_snapshot(own_house: Path) -> None:
    (own_house / "snapshot" / "manifest.json").write_text("{}")
    command = [
        sys.executable,
        "-m",
        "decider.cli.main",
        "serve",
        "--config",
        str(own_house / "decider.toml"),
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 3
    assert json.loads(ended.stderr.splitlines()[-1])["error"]["type"] == "CorruptArtifact"
