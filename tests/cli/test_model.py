"""`decider model`, on the registry; with a server see test_serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from decider.models import Registry
from tests.cli.small_house import done, run


@pytest.fixture
def models(own_house: Path) -> Path:
    return own_house / "models"


def artifact(house: Path, folder: Path, seed: int) -> Path:
    trained = done(
        "train", house / "feedback", "--reward", "visit", "--name", "visits", "--seed", seed, "--no-publish",
        "--out", folder,
    )  # fmt: skip
    return Path(trained["models"][0]["directory"])


def test_publish_list_show_roll_back(house: Path, models: Path, tmp_path: Path) -> None:
    (before,) = done("model", "list", "--models", models)["models"]
    assert before["current"] is True
    new = done("model", "publish", artifact(house, tmp_path / "a", 1), "--models", models)
    assert new["version"] != before["version"]
    listed = done("model", "list", "--models", models)["models"]
    assert [(each["version"], each["current"]) for each in listed] == [
        (new["version"], True),
        (before["version"], False),
    ]
    shown = done("model", "show", "visits", "--models", models)
    assert shown["version"] == new["version"]
    assert [each["action"] for each in shown["history"]] == ["publish", "publish"]
    assert all(each["who"].startswith("cli") for each in shown["history"])
    older = done("model", "show", "visits", "--version", before["version"], "--models", models)
    assert (older["version"], older["current"]) == (before["version"], False)

    back = done("model", "roll-back", "visits", "--expected-version", new["version"], "--models", models)
    assert back["version"] == before["version"] == Registry(models).current("visits")
    assert done("model", "show", "visits", "--models", models)["history"][-1]["action"] == "roll_back"
    for args in (("list",), ("show", "visits")):
        answer = run("model", *args, "--models", models)
        assert answer.code == 0
        assert before["version"] in answer.out


def test_roll_back_of_another_version_does_nothing(house: Path, models: Path, tmp_path: Path) -> None:
    new = done("model", "publish", artifact(house, tmp_path / "a", 1), "--models", models)
    answer = run(
        "model", "roll-back", "visits", "--expected-version", "sha256:" + 16 * "0", "--models", models
    )
    assert answer.code == 3
    assert new["version"] in answer.err
    assert Registry(models).current("visits") == new["version"]


def test_nothing_to_roll_back_to(models: Path) -> None:
    answer = run("model", "roll-back", "visits", "--models", models, "--json")
    assert (answer.code, answer.error["type"]) == (3, "NotReady")


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (("show", "clicks"), 2, "clicks"),
        (("show", "visits", "--version", "latest"), 2, "version"),
        (("show", "visits", "--version", "sha256:0123456789abcdef"), 2, "0123456789abcdef"),
        (("list", "--name", "clicks"), 2, "clicks"),
        (("roll-back", "clicks"), 2, "clicks"),
        (("publish", "no-such-folder"), 2, "no-such-folder"),
        (("list", "--server", "127.0.0.1:1"), 2, "together with server"),
    ],
)
def test_bad_input(models: Path, args: tuple[str, ...], code: int, named: str) -> None:
    answer = run("model", *args, "--models", models)
    assert answer.code == code, answer.err
    assert named in answer.err


def test_a_changed_artifact_is_refused_and_the_old_one_stays(
    house: Path, models: Path, tmp_path: Path
) -> None:
    before = Registry(models).current("visits")
    directory = artifact(house, tmp_path / "a", 1)
    mean = directory / "mean.npy"
    data = bytearray(mean.read_bytes())
    data[-1] ^= 1
    mean.write_bytes(data)
    answer = run("model", "publish", directory, "--models", models, "--json")
    assert (answer.code, answer.error["type"]) == (3, "CorruptArtifact")
    assert "mean.npy" in answer.error["message"]
    assert Registry(models).current("visits") == before


def test_reload_needs_an_address(house: Path) -> None:
    answer = run("model", "reload", "--config", house / "decider.toml")
    assert answer.code == 2
    assert "server must be given" in answer.err
