"""The published figures of the Hillstrom trial, through the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.small_house import done, run

COLUMNS = (
    *("--arm", "segment", "--control", "No E-Mail", "--propensity", "uniform"),
    *("--reward", "visit", "--reward", "conversion", "--reward", "spend"),
    *("--feature", "recency", "--feature", "history", "--feature", "mens", "--feature", "womens"),
    *("--category", "zip_code", "--category", "channel"),
)


@pytest.mark.real_data
def test_printed_effects_are_the_published_ones(data_dir: Callable[[str], Path], tmp_path: Path) -> None:
    feedback = tmp_path / "feedback"
    done("log", "import", data_dir("hillstrom.csv.gz"), *COLUMNS, "--out", feedback)
    printed = {}
    for reward in ("visit", "conversion"):
        answer = run("evaluate", feedback, "--reward", reward, "--resamples", "0", "--models", tmp_path / "m")
        assert answer.code == 0, answer.err
        printed[reward] = answer.out
    for text in ("0.106167", "0.182757", "0.151400", "+0.076590 (0.003386)", "+0.045233 (0.003234)"):
        assert text in printed["visit"]
    for text in ("0.005726", "0.012531", "0.008837", "+0.006805 (0.000921)", "+0.003111 (0.000823)"):
        assert text in printed["conversion"]
    shown = run("log", "show", feedback).out
    for text in ("21,306", "21,307", "21,387", "0.652789", "1.422617", "1.077202"):
        assert text in shown


@pytest.mark.real_data
def test_constant_policies_by_design_shares_are_worth_the_arms_means(
    data_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    feedback = tmp_path / "feedback"
    done("log", "import", data_dir("hillstrom.csv.gz"), *COLUMNS, "--out", feedback)
    options = ("evaluate", feedback, "--half", "all", "--resamples", "200", "--models", tmp_path / "m")
    for reward in ("visit", "conversion", "spend"):
        found = done(*options, "--reward", reward)
        values = {each["policy"]: each["values"] for each in found["values"]}
        for arm in found["arms"]:
            policy = "nobody" if arm["arm"] == found["control"] else f"{arm['arm']} to all"
            for estimator in ("ips", "snips", "dr", "sndr"):
                low, high = values[policy][estimator]["normal"]
                assert low < arm["mean"]["value"] < high
