"""`decider frontier`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.small_house import done, run


@pytest.fixture(scope="module")
def models(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    done("train", house / "feedback", "--reward", "visit", "--name", "v", "--models", folder)
    return folder


def options(house: Path, models: Path, *more: object) -> tuple[Any, ...]:
    start = ("frontier", house / "feedback", "--reward", "visit", "--model", "v", "--models", models)
    return (*start, "--resamples", "200", *more)


def test_points_rise_in_volume_and_fall_in_price(house: Path, models: Path) -> None:
    found = done(*options(house, models, "--exchange-rate", "0.1", "--today", "0.05"))
    points = found["points"]
    assert len(points) == 101
    assert points[0]["reward"] == 0.0
    assert points[0]["price"] is None
    assert points[-1]["volume"] == 1.0
    prices = [point["price"] for point in points[1:]]
    assert prices == sorted(prices, reverse=True)
    for point in points[1:]:
        assert point["band"][0] < point["reward"] < point["band"][1]
    net = max(point["reward"] - 0.1 * point["volume"] for point in points)
    assert found["recommended"]["net"] == pytest.approx(net)
    low, high = found["recommended"]["volumes_not_told_apart"]
    assert low <= found["recommended"]["volume"] <= high
    assert found["today"]["price"] > 0.05
    assert found["model"]["learnt_from_judged_rows"] is False


def test_people_read_every_tenth(house: Path, models: Path) -> None:
    answer = run(*options(house, models, "--exchange-rate", "0.1"))
    assert answer.code == 0, answer.err
    for text in ("none sent", "50.0%", "100.0%", "recommended", "volumes not told apart"):
        assert text in answer.out


def test_opt_outs_stand_beside(house: Path, models: Path) -> None:
    found = done(*options(house, models, "--opt-outs", "visit"))
    last = found["points"][-1]
    assert last["harm"] == pytest.approx(last["reward"])
    assert run(*options(house, models, "--opt-outs", "visit")).code == 0


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--opt-outs", "unsubscribed"), "unsubscribed"),
        (("--opt-out-rate", "2"), "opt-out-rate"),
        (("--resamples", "10"), "resamples"),
        (("--model", "nobody"), "nobody"),
    ],
)
def test_bad_input(house: Path, models: Path, more: tuple[str, ...], named: str) -> None:
    answer = run(*options(house, models, *more))
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert answer.out == ""
