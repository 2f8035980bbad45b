"""`decider train`."""

from __future__ import annotations

from pathlib import Path

import pytest

from decider.models import Registry, load_model
from tests.cli.small_house import N_MEMBERS, done, run


def test_both_learners_are_published_with_their_facts(house: Path, tmp_path: Path) -> None:
    trained = done(
        "train", house / "feedback", "--reward", "visit", "--learner", "all", "--name", "v", "--models",
        tmp_path / "models", "--message", "mens=mens@email", "--type", "mens=merchandise", "--half", "all",
    )  # fmt: skip
    assert [each["name"] for each in trained["models"]] == ["v", "v-correlational"]
    assert [each["outcome"] for each in trained["models"]] == ["incrementality", "level"]
    assert trained["facts"]["n_rows"] == N_MEMBERS
    registry = Registry(tmp_path / "models")
    for each in trained["models"]:
        assert each["published"] is True
        assert registry.current(each["name"]) == each["version"]
        assert set(each["posteriors"]) == {"mens@email", "womens", "type:merchandise"}
        assert set(each["trained"]["arms"]) == {"mens", "womens"}
        for arm in each["trained"]["arms"].values():
            assert arm["noise_variance"] > 0
            assert arm["average_sd"] > 0
    # The effect was made to be 0.1 + 0.2 * bought and 0.05 + 0.3 * (1 - bought): both average 0.2.
    # Five standard deviations: a false alarm once in a million.
    for arm in trained["models"][0]["trained"]["arms"].values():
        assert abs(arm["average"] - 0.2) < 5 * arm["average_sd"]


def test_the_same_seed_gives_the_same_version(house: Path, tmp_path: Path) -> None:
    options = ("train", house / "feedback", "--reward", "visit", "--models", tmp_path / "models")
    first, again = done(*options), done(*options)
    other = done(*options, "--seed", "1")
    assert first["models"][0]["version"] == again["models"][0]["version"] != other["models"][0]["version"]
    assert first["models"][0]["name"] == "auto"


def test_unpublished_models_are_artifacts(house: Path, tmp_path: Path) -> None:
    trained = done(
        "train", house / "feedback", "--reward", "spend", "--no-publish", "--out", tmp_path / "artifacts",
        "--models", tmp_path / "models",
    )  # fmt: skip
    (model,) = trained["models"]
    assert model["published"] is False
    assert load_model(model["directory"]).version == model["version"]
    assert not (tmp_path / "models").exists()


def test_the_r_learner_is_a_choice(house: Path, tmp_path: Path) -> None:
    options = ("train", house / "feedback", "--reward", "visit", "--models", tmp_path / "models", "--half", "all",
               "--learner", "r", "--name", "joint", "--type", "mens=clothes", "--type", "womens=clothes")  # fmt: skip
    (model,) = done(*options)["models"]
    assert (model["name"], model["trained"]["learner"]) == ("joint", "r_learner")
    assert model["posteriors"] == ["mens", "womens", "type:clothes"]
    for arm in model["trained"]["arms"].values():
        # As above: both effects average 0.2.
        assert abs(arm["average"] - 0.2) < 5 * arm["average_sd"]
    assert "What joint learnt" in run(*options).out


def test_for_people(house: Path, tmp_path: Path) -> None:
    answer = run("train", house / "feedback", "--reward", "visit", "--models", tmp_path / "models")
    assert answer.code == 0
    for text in ("womens", "noise variance", "prior scale", "incrementality"):
        assert text in answer.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--reward", "visits"], "visit"),
        (["--reward", "visit", "--share", "1"], "share"),
        (["--reward", "visit", "--folds", "1"], "folds"),
        (["--reward", "visit", "--message", "mans=mens"], "mans"),
        (["--reward", "visit", "--type", "mens"], "type"),
        (["--reward", "visit", "--widen", "0.5"], "widen"),
        (["--reward", "visit", "--name", "a/b"], "a/b"),
        (["--reward", "visit", "--no-publish"], "out"),
        (["--reward", "visit", "--out", "artifacts"], "out"),
        (["--reward", "visit", "--learner", "best"], "best"),
        ([], "--reward"),
    ],
)
def test_bad_input(house: Path, tmp_path: Path, options: list[str], named: str) -> None:
    answer = run("train", house / "feedback", *options, "--models", tmp_path / "models")
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert not (tmp_path / "models").exists()


def test_feedback_must_be_there_and_whole(own_house: Path, tmp_path: Path) -> None:
    answer = run("train", tmp_path / "none", "--reward", "visit", "--models", tmp_path / "models", "--json")
    assert (answer.code, answer.error["type"]) == (2, "NotFound")
    (own_house / "feedback" / "manifest.json").write_text("{}")
    answer = run(
        "train", own_house / "feedback", "--reward", "visit", "--models", tmp_path / "models", "--json"
    )
    assert (answer.code, answer.error["type"]) == (3, "CorruptArtifact")


def test_a_map_of_trees_is_published_decides_and_replays(own_house: Path) -> None:
    config = own_house / "decider.toml"
    trained = done(
        "train", own_house / "feedback", "--reward", "visit", "--name", "visits", "--half", "all",
        "--feature-map", "gbdt", "--map-trees", "2", "--map-leaves", "4", "--config", config,
    )  # fmt: skip
    (model,) = trained["models"]
    about = model["trained"]["feature_map"]
    assert about["kind"] == "gbdt"
    assert 5 < about["n_leaves"] <= 16
    assert 0 < about["n_rows_grown_on"] < N_MEMBERS / 2
    done("decide", "--config", config, "--volume", "30%", "--request-id", "run", "--policy", "thompson")
    one = done(
        "decide", "--config", config, "--member", "1007", "--request-id", "one", "--policy", "thompson"
    )
    assert one["model_version"] == model["version"]
    replayed = done("log", "replay", "--config", config)
    assert replayed == {"decisions": N_MEMBERS + 1, "different": []}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--feature-map", "onnx"), "network must be given with the feature map 'onnx', and only then"),
        (("--onnx", "nowhere.onnx"), "onnx must be a file that can be read"),
        (("--feature-map", "gbdt", "--map-share", "0"), "must be in (0, 1), got 0.0"),
    ],
)
def test_maps_that_cannot_be_made_are_refused(
    house: Path, tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    answer = run("train", house / "feedback", "--reward", "visit", "--models", tmp_path / "models", *options)
    assert answer.code != 0
    assert text in " ".join(answer.err.split())
