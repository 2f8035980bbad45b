"""Every command explains itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from decider.cli.main import app
from tests.cli.small_house import run

NAMED = (
    "demo",
    "snapshot",
    "catalog",
    "log",
    "train",
    "evaluate",
    "frontier",
    "report",
    "experiment",
    "decide",
    "serve",
    "loop",
    "simulate",
    "model",
    "explain",
    "bench",
    "doctor",
)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, below in getattr(command, "commands", {}).items():
        yield (*path, name)
        yield from commands(below, (*path, name))


ALL = sorted(commands(typer.main.get_command(app)))


def test_the_commands_are_those_that_were_promised() -> None:
    assert {path[0] for path in ALL} == set(NAMED)
    groups = {
        "snapshot": {"build", "show", "verify"},
        "catalog": {"check"},
        "experiment": {"check", "assign", "read"},
        "log": {"import", "show", "verify"},
        "model": {"list", "show", "publish", "roll-back", "reload"},
    }
    for group, below in groups.items():
        assert {path[1] for path in ALL if path[0] == group and len(path) == 2} >= below


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    answer = run(*path, "--help")
    assert answer.code == 0
    assert "Usage" in answer.out
    is_group = path in {(name,) for name in ("snapshot", "catalog", "log", "model", "experiment", "loop")}
    if not is_group and path != ("demo",):
        assert "Examples:" in answer.out
        assert f"decider {' '.join(path)}" in answer.out
        assert "--json" in answer.out


def test_version() -> None:
    answer = run("--version")
    assert answer.code == 0
    assert answer.out.startswith("decider")


def test_nothing_asked_is_a_wrong_call() -> None:
    assert run().code in (0, 2)
    assert run("no-such-command").code == 2
    assert "no-such-command" in run("no-such-command").err


def test_as_a_module() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "decider.cli.main", "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "snapshot" in ended.stdout
    assert ended.stderr == ""
