"""The demo as a stranger runs it: a command in a process of its own, with and without the real data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KEYS = {"data", "members", "arms", "average_incrementality", "volume", "price", "values", "server", "log"}
POLICIES = {"nobody", "random", "correlational", "heuristic", "decider", "Mens to all"}


def run_demo(out: Path, **environment: str) -> dict[str, Any]:
    """`decider demo --json`: its one object."""
    command = [sys.executable, "-m", "decider.cli.main", "demo", "--json", "--offline", "--out", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_whole(found: dict[str, Any], out: Path) -> None:
    assert found.keys() >= KEYS
    volume = found["volume"]
    assert volume["sent"] == volume["allowed"] == int(0.3 * found["members"])
    assert found["log"]["decisions"] == found["members"]
    assert found["log"]["sends"] == volume["sent"]
    assert found["log"]["equals_what_the_client_was_told"]
    assert found["explained"]["reproduced"]
    assert found["values"].keys() >= POLICIES
    for value in found["values"].values():
        for estimator in ("ips", "snips", "dr"):
            low, high = value[estimator]["interval"]
            assert low <= value[estimator]["value"] <= high
    for place in found["where"].values():
        assert Path(place).exists()
    assert (out / "logbook").is_dir()
    report = Path(found["report"])
    assert report.parent == out
    html = report.read_text("utf-8")
    sections = ("data", "decided", "price", "estimates", "uplift", "posteriors", "exploration")
    assert re.findall(r'<section id="([^"]+)"', html) == list(sections)
    assert f"{volume['sent']:,}" in html


@pytest.mark.slow
def test_without_the_data_a_generated_trial_takes_its_place_and_says_so(tmp_path: Path) -> None:
    found = run_demo(
        tmp_path / "demo", DECIDER_DATA_DIR="", XDG_CACHE_HOME=str(tmp_path / "cache"),
        NUMBA_CACHE_DIR=str(Path.home() / ".cache" / "decider" / "numba"),
    )  # fmt: skip
    check_whole(found, tmp_path / "demo")
    assert found["data"]["source"] == "generated"
    assert "could be reached" in found["data"]["note"]


@pytest.mark.slow
@pytest.mark.real_data
def test_on_the_real_trial_the_published_figures_come_out(
    tmp_path: Path, data_dir: Callable[[str], Path]
) -> None:
    data_dir("hillstrom.csv.gz")
    found = run_demo(tmp_path / "demo")
    check_whole(found, tmp_path / "demo")
    assert found["data"]["source"] == "local copy"
    assert found["members"] == 64_000
    effects = {
        (reward, arm): (f"{effect['estimate']:+.6f}", f"{effect['standard_error']:.6f}")
        for reward, arms in found["average_incrementality"].items()
        for arm, effect in arms.items()
    }
    assert effects == {
        ("visit", "Mens E-Mail"): ("+0.076590", "0.003386"),
        ("visit", "Womens E-Mail"): ("+0.045233", "0.003234"),
        ("conversion", "Mens E-Mail"): ("+0.006805", "0.000921"),
        ("conversion", "Womens E-Mail"): ("+0.003111", "0.000823"),
    }


def test_a_damaged_local_copy_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "hillstrom.csv").write_text("recency\n1\n")
    command = [sys.executable, "-m", "decider.cli.main", "demo", "--offline", "--out", str(tmp_path / "demo")]
    environment = {**os.environ, "DECIDER_DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 3
    assert "its sha256 must be" in done.stderr
    assert str(tmp_path / "hillstrom.csv") in done.stderr
