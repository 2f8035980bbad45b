"""The same decisions, bit for bit, whoever is asked and however: a trial's members over real sockets."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from decider.cli.demo import DECISION_TIME
from decider.cli.demo.data import find_trial
from decider.cli.demo.house import House, build_house
from decider.cli.demo.serving import server_process
from decider.config import load_config
from decider.service import batch_client
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.compose import engine_to_read

N_SINGLE = 2_000
COLUMNS = (
    "member_id",
    "stratum",
    "candidates",
    "marginal_gain",
    "expected_incrementality",
    "standard_deviation",
    "propensity",
)


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> tuple[House, House]:
    """Two copies of one house, so that two servers may each have a log; with one thread and with two."""
    folder = tmp_path_factory.mktemp("trial")
    trial = find_trial(folder, allow_download=False)
    first = folder / "first"
    first.mkdir()
    house = build_house(trial.path, first)
    second = Path(shutil.copytree(first, folder / "second"))
    for directory, threads in ((first, 1), (second, 2)):
        with (directory / "decider.toml").open("a") as config:
            config.write(f"threads = {threads}\n")
    return house, replace(house, directory=second)


def decide_all(
    client: DeciderClient, name: str, ids: list[int] | None, size: int, *, dry_run: bool = True
) -> pl.DataFrame:
    """A batch at the policy's own price, its members sent `size` at a time."""
    options = BatchOptions(request_id=name, decision_time=DECISION_TIME, dry_run=dry_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_client, "MEMBERS_PER_REQUEST", size)
        tables = list(client.batch_decide(ids, options))
    return pl.concat(tables).select(COLUMNS).sort("member_id")


def assert_same(got: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Every number to the last bit: equality of frames takes NaN for NaN and null for null."""
    assert got.schema == expected.schema
    for name in COLUMNS:
        assert got[name].equals(expected[name], null_equal=True), name


@pytest.mark.slow
def test_every_way_of_asking_gives_the_same_decisions(houses: tuple[House, House]) -> None:
    first, second = houses
    n_members = first.n_members
    ids = list(range(n_members))
    with (
        server_process(first) as one,
        server_process(second) as two,
        DeciderClient(one.address, timeout_seconds=60) as a,
        DeciderClient(two.address) as b,
    ):
        expected = decide_all(a, "all", None, n_members)
        assert expected.height == n_members
        assert (expected["candidates"].list.len() > 0).any()
        assert_same(decide_all(b, "all", None, n_members), expected)
        shuffled = np.random.default_rng(1).permutation(n_members).tolist()
        for client in (a, b):
            for size in (7, 4_096, n_members):
                assert_same(decide_all(client, f"by-{size}", ids, size), expected)
            assert_same(decide_all(client, "shuffled", shuffled, 4_096), expected)
        some = ids[:: n_members // 4_000]
        assert_same(decide_all(b, "by-1", some, 1), expected[some])
        for member_id in ids[:: n_members // N_SINGLE][:N_SINGLE]:
            decision = a.decide(member_id, request_id="one", decision_time=DECISION_TIME, dry_run=True)
            row = expected.row(member_id, named=True)
            assert [m.candidate for m in decision.messages] == row["candidates"]
            assert [m.marginal_gain for m in decision.messages] == row["marginal_gain"]
            means = [m.expected_incrementality for m in decision.messages]
            assert means == row["expected_incrementality"]
            assert decision.propensity == row["propensity"]
        assert_same(decide_all(b, "logged", None, n_members, dry_run=False), expected)
    with engine_to_read(load_config(second.config_path)) as engine:
        replayed = list(engine.replay())
    assert sum(batch.n_decisions for batch in replayed) == n_members
    assert [decision_id for batch in replayed for decision_id in batch.different] == []
