"""`decider evaluate`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decider.cli.values import choose_at_volume, random_at_volume, saw_rows
from decider.errors import InvalidInput, UnknownName
from decider.evaluation import read_logged
from decider.learning import TrainSpec
from decider.logbook import Feedback
from decider.models import Registry
from tests.cli.small_house import done, run, trial


def naive_effect(rewards: dict[str, list[float]], arm: str) -> tuple[float, float]:
    """Difference of means and its standard error, with the variance that divides by n."""

    def mean_and_square(values: list[float]) -> tuple[float, float]:
        mean = math.fsum(values) / len(values)
        return mean, math.fsum((value - mean) ** 2 for value in values) / len(values) ** 2

    treated, control = mean_and_square(rewards[arm]), mean_and_square(rewards["none"])
    return treated[0] - control[0], math.sqrt(treated[1] + control[1])


@pytest.fixture(scope="module")
def evaluated(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    models = tmp_path_factory.mktemp("models")
    done("train", house / "feedback", "--reward", "visit", "--name", "v", "--models", models)
    return done(
        "evaluate", house / "feedback", "--reward", "visit", "--model", "v", "--models", models, "--volume",
        "30%", "--resamples", "200",
    )  # fmt: skip


def test_average_effects_are_those_of_the_definition(evaluated: Any) -> None:
    rewards = {arm: part["visit"].to_list() for (arm,), part in trial().group_by("arm")}
    by_arm = {each["arm"]: each for each in evaluated["arms"]}
    for arm in ("mens", "womens"):
        effect, error = naive_effect(rewards, arm)
        assert by_arm[arm]["incrementality"]["value"] == pytest.approx(effect, rel=1e-9)
        assert by_arm[arm]["incrementality"]["standard_error"] == pytest.approx(error, rel=2e-3)
        assert by_arm[arm]["rows"] == len(rewards[arm])
    assert by_arm["none"]["incrementality"] is None


def test_values_have_intervals(evaluated: Any) -> None:
    values = {each["policy"]: each for each in evaluated["values"]}
    assert set(values) == {"nobody", "mens to all", "womens to all", "random at 30%", "v at 30%"}
    for each in values.values():
        for estimator in ("ips", "snips", "dr"):
            low, high = each[estimator]["normal"]
            assert low < each[estimator]["value"] < high
            assert each[estimator]["bootstrap"] is not None
            assert each[estimator]["refused"] is None
    assert values["nobody"]["send_share"] == 0.0
    assert values["mens to all"]["send_share"] == 1.0
    assert values["v at 30%"]["send_share"] <= 0.3
    # The effects were made to depend on `bought`, so the model's choice is worth more than a random one.
    # 0.315 against 0.2 a send, less noise: about four standard errors.
    assert values["v at 30%"]["dr"]["value"] > values["random at 30%"]["dr"]["value"]
    assert evaluated["models"]["v"]["learnt_from_judged_rows"] is False
    assert all(abs(each["z"]) < 4 for each in evaluated["propensity_checks"])


def test_a_model_that_saw_the_rows_is_told_of(house: Path) -> None:
    options = ("evaluate", house / "feedback", "--reward", "visit", "--model", "visits", "--models",
               house / "models", "--resamples", "0")  # fmt: skip
    assert done(*options)["models"]["visits"]["learnt_from_judged_rows"] is True
    answer = run(*options)
    assert answer.code == 0
    assert "learnt from some of the rows" in answer.err
    assert "visits at 30%" in answer.out


def test_choices_at_a_volume_are_the_largest(house: Path) -> None:
    log = read_logged(Feedback.open(house / "feedback"), "visit")
    model = Registry(house / "models").load("visits")
    target = choose_at_volume(log, model, 0.25, {})
    z = model.feature_map.apply(log.x).astype(float)
    place = {name: model.posterior_names.index(name) for name in ("mens", "womens")}
    means = {name: z @ model.mean[j] for name, j in place.items()}
    best = [max((means[name][row], name) for name in means) for row in range(log.n_rows)]
    sent = [row for row in range(log.n_rows) if target[row, log.control] == 0.0]
    assert len(sent) == int(0.25 * log.n_rows)
    for row in sent:
        assert target[row, log.arms.index(best[row][1])] == 1.0
    # A certificate: nobody left out is worth more than anybody who is sent to (float32 against float64).
    least = min(best[row][0] for row in sent)
    assert all(best[row][0] <= least + 1e-6 for row in set(range(log.n_rows)) - set(sent))
    assert np.array_equal(target.sum(axis=1), np.ones(log.n_rows))


def test_nobody_is_sent_what_is_worth_nothing(house: Path) -> None:
    log = read_logged(Feedback.open(house / "feedback"), "visit")
    target = choose_at_volume(log, Registry(house / "models").load("visits"), 0.0, {})
    assert (target[:, log.control] == 1.0).all()


def test_a_volume_is_not_filled_with_harm(house: Path) -> None:
    log = read_logged(Feedback.open(house / "feedback"), "visit")
    model = Registry(house / "models").load("visits")
    # The best message was made to be worth 0.30 or 0.35: less 0.325 it does harm to about half of them.
    lower = model.mean.copy()
    lower[:, 0] -= 0.325
    target = choose_at_volume(log, replace(model, mean=lower), 1.0, {})
    z = model.feature_map.apply(log.x).astype(float)
    wanted = [max(float(row @ lower[0]), float(row @ lower[1])) for row in z]
    sent = target[:, log.control] == 0.0
    assert 0 < sent.sum() < log.n_rows
    assert all(
        is_sent == (value > 0) for is_sent, value in zip(sent, wanted, strict=True) if abs(value) > 1e-6
    )


def test_random_at_a_volume_sums_to_one(house: Path) -> None:
    log = read_logged(Feedback.open(house / "feedback"), "visit")
    target = random_at_volume(log, 0.3)
    assert np.allclose(target.sum(axis=1), 1.0)
    assert target[0, log.control] == pytest.approx(0.7)


def test_which_halves_a_model_saw(house: Path) -> None:
    model = Registry(house / "models").load("visits")
    halves = ("train", "held-out", "all")
    saw: dict[tuple[str, str], bool] = {}
    for learnt in halves:
        trained = {**model.trained, "half": learnt, "seed": 4, "train_share": 0.6}
        for half in halves:
            spec = TrainSpec(reward="visit", half=half, seed=4, train_share=0.6)
            saw[learnt, half] = saw_rows(replace(model, trained=trained), spec)
            # Halves of another split overlap, whatever they are called.
            for other in (TrainSpec(reward="visit", half=half, seed=5, train_share=0.6),
                          TrainSpec(reward="visit", half=half, seed=4, train_share=0.5)):  # fmt: skip
                assert saw_rows(replace(model, trained=trained), other)
    assert {pair for pair, seen in saw.items() if not seen} == {("train", "held-out"), ("held-out", "train")}


def test_a_model_of_other_arms_or_features_is_refused(house: Path, tmp_path: Path) -> None:
    log = read_logged(Feedback.open(house / "feedback"), "visit")
    model = Registry(house / "models").load("visits")
    with pytest.raises(UnknownName, match="'pants'"):
        choose_at_volume(log, model, 0.3, {"mens": "pants"})
    done(
        "log", "import", house / "trial.parquet", "--arm", "arm", "--control", "none", "--reward", "visit",
        "--feature", "recency", "--propensity", "uniform", "--out", tmp_path / "f",
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="bought"):
        choose_at_volume(read_logged(Feedback.open(tmp_path / "f"), "visit"), model, 0.3, {})


def test_without_support_there_is_a_reason_and_no_number(tmp_path: Path) -> None:
    # Only 20 rows were given mens: too few to judge "mens to all".
    frame = trial(900).filter(pl.col("arm") != "mens")
    few = trial(900).filter(pl.col("arm") == "mens").head(40)
    pl.concat([frame, few]).write_parquet(tmp_path / "t.parquet")
    n = len(frame) + 40
    shares = [f"{arm}={count / n}" for arm, count in (("mens", 40), ("none", 300))]
    shares.append(f"womens={1 - 340 / n}")
    done(
        "log", "import", tmp_path / "t.parquet", "--arm", "arm", "--control", "none", "--reward", "visit",
        "--feature", "recency", *[part for share in shares for part in ("--share", share)], "--out",
        tmp_path / "f",
    )  # fmt: skip
    options = ("evaluate", tmp_path / "f", "--reward", "visit", "--half", "all", "--models", tmp_path / "m",
               "--resamples", "0")  # fmt: skip
    values = {each["policy"]: each for each in done(*options)["values"]}
    refused = values["mens to all"]["ips"]
    assert refused["value"] is None
    assert "effective sample size" in refused["refused"]
    assert values["womens to all"]["ips"]["value"] is not None
    answer = run(*options)
    assert "refused" in answer.out
    assert "effective sample size" in answer.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--reward", "visits"], "visit"),
        (["--reward", "visit", "--volume", "30"], "volume"),
        (["--reward", "visit", "--model", "nobody"], "nobody"),
        (["--reward", "visit", "--share", "0"], "share"),
        (["--reward", "visit", "--half", "third"], "third"),
    ],
)
def test_bad_input(house: Path, options: list[str], named: str) -> None:
    answer = run("evaluate", house / "feedback", *options, "--models", house / "models")
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert answer.out == ""
