"""`decider doctor`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decider.cli import checks
from decider.logbook import Logbook
from tests.cli.small_house import run


def verdicts(answer: Any) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in answer.json["checks"]}


def test_a_house_in_order(house: Path) -> None:
    answer = run("doctor", "--config", house / "decider.toml", "--json")
    assert answer.code == 0, answer.out
    found = verdicts(answer)
    assert set(found) == {
        "python", "packages", "processor", "kernel cache", "kernels", "configuration", "catalog", "policies",
        "snapshot", "models", "agreement", "logbook", "port",
    }  # fmt: skip
    assert "fail" not in found.values()
    assert answer.json["healthy"] is True
    assert not (house / "logbook").exists(), "a check changes nothing"
    said = run("doctor", "--config", house / "decider.toml")
    assert said.code == 0
    assert "agree in every bit" in said.out


def test_only_the_machine() -> None:
    answer = run("doctor", "--machine-only", "--json")
    assert answer.code == 0
    assert set(verdicts(answer)) == {"python", "packages", "processor", "kernel cache", "kernels"}


@pytest.mark.parametrize(
    ("file", "content", "failing"),
    [
        ("catalog.toml", 'name = "x"', {"catalog", "agreement"}),
        ("catalog.toml", None, {"catalog", "agreement"}),
        ("policies.toml", '[[policy]]\nname = "p"\nkind = "best"', {"policies", "models", "agreement"}),
        ("snapshot/manifest.json", "{}", {"snapshot", "agreement"}),
        ("models/visits/current.json", "{}", {"models", "agreement"}),
        ("decider.toml", "threads = -1", {"configuration"}),
        ("decider.toml", "treads = 1", {"configuration"}),
    ],
)
def test_what_fails_is_named_with_a_remedy(
    own_house: Path, file: str, content: str | None, failing: set[str]
) -> None:
    path = own_house / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    answer = run("doctor", "--config", own_house / "decider.toml", "--json")
    assert answer.code == 1
    failed = {each["name"]: each for each in answer.json["checks"] if each["verdict"] == "fail"}
    assert set(failed) == failing
    assert answer.json["failed"] == len(failing)
    assert all(each["remedy"] for each in failed.values())
    assert run("doctor", "--config", own_house / "decider.toml").code == 1


def test_a_model_that_was_never_published(own_house: Path) -> None:
    policies = own_house / "policies.toml"
    policies.write_text(policies.read_text().replace('model = "visits"', 'model = "clicks"'))
    answer = run("doctor", "--config", own_house / "decider.toml", "--json")
    assert answer.code == 1
    assert verdicts(answer)["models"] == "fail"
    assert "clicks" in answer.out


def test_a_logbook_in_use_and_a_port_in_use(own_house: Path) -> None:
    config = own_house / "decider.toml"
    with socket.create_server(("127.0.0.1", 0)) as listener, Logbook.open(own_house / "logbook"):
        config.write_text(f'listen = "127.0.0.1:{listener.getsockname()[1]}"\n')
        answer = run("doctor", "--config", config, "--json")
    assert answer.code == 0
    assert verdicts(answer)["logbook"] == "warn"
    assert verdicts(answer)["port"] == "warn"
    found = verdicts(run("doctor", "--config", config, "--json"))
    assert found["logbook"] == found["port"] == "ok"


def test_a_processor_that_computes_by_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = checks.posterior_moments

    def by_batch(packed: Any, z: Any, u: Any) -> Any:
        mean, sd = right(packed, z, u)
        return (mean if len(z) == 1 else np.nextafter(mean, np.float32(9.0))), sd

    monkeypatch.setattr(checks, "posterior_moments", by_batch)
    assert checks.kernels().verdict == "fail"


def test_a_check_that_breaks_fails_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(checks, "posterior_moments", broken)
    answer = run("doctor", "--machine-only", "--json")
    assert answer.code == 1
    (failed,) = [each for each in answer.json["checks"] if each["verdict"] == "fail"]
    assert failed["name"] == "kernels"
    assert "no kernel" in failed["found"]
