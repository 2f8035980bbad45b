"""`decider simulate`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.cli.small_house import done, run

SMALL = ("simulate", "--members", 400, "--epochs", 4, "--policy", "causal", "--policy", "correlational")


def test_it_tells_every_policy_and_epoch() -> None:
    told = done(*SMALL, "--seeds", 2, "--seed", 7, "--since", 1)
    assert (told["world"], told["members"], told["seeds"], told["since"]) == ("default", 400, [7, 8], 1)
    assert [row["policy"] for row in told["policies"]] == ["correlational", "causal", "oracle"]
    assert len(told["per_epoch"]) == 2 * 3 * 4
    for row in told["policies"]:
        shares = [each["share_of_oracle"] for each in told["per_seed"] if each["policy"] == row["policy"]]
        assert row["share_of_oracle"] == pytest.approx(sum(shares) / 2)
        assert (row["share_lowest"], row["share_highest"]) == (min(shares), max(shares))


def test_two_runs_say_the_same() -> None:
    assert done(*SMALL) == done(*SMALL)


def test_people_get_a_table() -> None:
    answer = run(*SMALL)
    assert answer.code == 0
    for word in ("incremental", "of oracle", "correlational", "opt-outs"):
        assert word in answer.out


def test_it_writes_parquet_and_plots(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    told = done(*SMALL, "--out", out)
    assert sorted(told["files"]) == sorted(str(path) for path in out.iterdir())
    epochs = pl.read_parquet(out / "epochs.parquet")
    assert epochs.drop("seed").height == 12
    assert {"policy", "epoch", "incremental", "opt_outs", "regret"} <= set(epochs.columns)
    assert {path.suffix for path in out.iterdir()} == {".parquet", ".svg", ".png", ".html"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--members", 0), "n_members must be in"),
        (("--epochs", 0), "n_epochs must be in"),
        (("--since", 4), "since must be an epoch, 0 to 3, got 4"),
        (("--volume", 9), "volume must be in (0, 3]"),
        (("--policy", "best"), "policy must be one of"),
        (("--world", "flat"), "flat"),
        (("--seeds", 0), "seeds"),
    ],
)
def test_bad_input_is_refused(given: tuple[object, ...], said: str) -> None:
    answer = run(*SMALL, *given)
    assert answer.code == 2
    assert said in answer.err.replace("\n", " ")
