"""`decider report`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from decider.logbook import Logbook
from decider.reporting.forms import number
from tests.cli.experiment_files import FEWER, TRIAL
from tests.cli.small_house import N_MEMBERS, done, run


@pytest.fixture(scope="module")
def mine(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house, in which there is a run and another version of the model."""
    return Path(shutil.copytree(house, tmp_path_factory.mktemp("reported") / "house"))


@pytest.fixture(scope="module")
def decided(mine: Path) -> str:
    done(
        "decide",
        "--config",
        mine / "decider.toml",
        "--policy",
        "greedy",
        "--volume",
        "20%",
        "--request-id",
        "monday",
    )
    return "monday"


def options(mine: Path, *more: object) -> tuple[object, ...]:
    return ("report", mine / "feedback", "--reward", "visit", "--config", mine / "decider.toml",
            "--resamples", "100", *more)  # fmt: skip


def test_it_shows_a_run_its_price_and_all_versions(mine: Path, decided: str, tmp_path: Path) -> None:
    out = tmp_path / "monday.html"
    # Another version: the posteriors are drawn over time.
    done("train", mine / "feedback", "--reward", "visit", "--name", "visits", "--models", mine / "models")
    found = done(
        *options(mine, "--model", "visits", "--run", decided, "--exchange-rate", "0.1", "--out", out)
    )
    assert found["report"] == str(out)
    html = out.read_text("utf-8")
    assert found["bytes"] == len(html.encode())
    for text in ("600 sends to 3,000 members", "nothing was worth its price", "recommended", "today",
                 "Average effect, version by version", "Strata: realised over planned"):  # fmt: skip
        assert text in html, text


def test_without_a_model_or_a_run_it_shows_what_there_is(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    answer = run(*options(mine, "--out", out))
    assert answer.code == 0, answer.err
    html = out.read_text("utf-8")
    assert 'id="estimates"' in html
    assert 'id="decided"' not in html
    assert 'id="price"' not in html


def test_an_experiment_is_read_into_it(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "trial.toml").write_text(TRIAL)
    out = tmp_path / "r.html"
    done(*options(mine, "--out", out, "--experiment", f"{tmp_path / 'trial.toml'}={mine / 'feedback'}"))
    assert "mens less none" in out.read_text("utf-8")


def test_a_run_of_an_experiment_is_shown_cell_by_cell(own_house: Path, tmp_path: Path) -> None:
    (own_house / "experiments").mkdir()
    (own_house / "experiments" / "fewer.toml").write_text(FEWER)
    config = ("--config", own_house / "decider.toml")
    done("decide", *config, "--policy", "fewer", "--time", "2026-01-06T09:00:00Z", "--volume", "20%",
         "--request-id", "tuesday")  # fmt: skip
    # The run is shown as it was decided, whatever is in force by now.
    (own_house / "experiments" / "fewer.toml").unlink()
    policies = (own_house / "policies.toml").read_text().replace("holdout = 0.02", "holdout = 0.5")
    (own_house / "policies.toml").write_text(policies)
    out = tmp_path / "r.html"
    done(*options(own_house, "--model", "visits", "--run", "tuesday", "--out", out))
    html = out.read_text("utf-8")
    with Logbook.open(own_house / "logbook", read_only=True) as log:
        logged = pl.concat(log.decision_frames())
        record = log.run(request_id="tuesday")
    assert f"of experiment fewer: {logged['candidates'].list.len().sum():,} sends" in html
    assert f"to {N_MEMBERS:,} members" in html
    section = html[html.index('<section id="cells"') :]
    for cell in record.cells:
        mine = logged.filter(pl.col("cell") == cell.name)
        sends = int(mine["candidates"].list.len().sum())
        assert sends > 0 or cell.name == "holdout"
        price = "\u2013" if cell.name == "holdout" else number(float(cell.theta or 0.0))
        row = re.search(
            f"<tr><t[hd][^>]*>{cell.name}</t[hd]><t[hd][^>]*>{cell.policy}</t[hd]>.*?</tr>", section
        )
        assert row is not None
        assert f"{mine.height:,} (" in row[0]
        assert f">{sends}<" in row[0].replace(",", "")
        assert f">{price}<" in row[0]
        assert (f"{cell.name}: sends by message" in section) == (sends > 0)
    # Of the greedy cell 2 % are held out, as when it was decided, and the strata are not found strange.
    assert "Strata: realised over planned" in html
    assert "Stratum holdout" not in html


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--run", "tuesday"), "tuesday"),
        (("--model", "nobody"), "nobody"),
        (("--out", "/no/such/folder/r.html"), "out"),
        (("--opt-outs", "unsubscribed", "--model", "visits"), "unsubscribed"),
        (("--experiment", "trial.toml"), "experiment"),
    ],
)
def test_bad_input(mine: Path, decided: str, tmp_path: Path, more: tuple[str, ...], named: str) -> None:
    out = tmp_path / "r.html"
    answer = run(*options(mine, *(() if "--out" in more else ("--out", out)), *more))
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert not out.exists()
