"""Each kind of error has one message and one exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from decider import errors
from decider.cli.failures import FrontDoor

ERRORS: dict[str, tuple[Exception | KeyboardInterrupt, int]] = {
    "invalid": (errors.InvalidInput.of("volume", "must be > 0", -1), 2),
    "unknown": (errors.UnknownName.of("policy", "must be known", "x"), 2),
    "not-found": (errors.NotFound("member_id", "member", 7), 2),
    "conflict": (errors.Conflict("request_id", "a"), 2),
    "corrupt": (errors.CorruptArtifact("file.f32", "its size is wrong"), 3),
    "not-ready": (errors.NotReady("no model"), 3),
    "unavailable": (errors.Unavailable("disk"), 4),
    "overloaded": (errors.Overloaded("busy"), 4),
    "unexpected": (ZeroDivisionError("by zero"), 1),
    "permission": (PermissionError(13, "Permission denied", "/somewhere/x"), 1),
    "interrupted": (KeyboardInterrupt(), 130),
}

app = typer.Typer(cls=FrontDoor, pretty_exceptions_enable=False)


@app.callback()
def root(debug: bool = False) -> None:
    """Options."""


@app.command()
def fail(kind: str, machine: bool = typer.Option(False, "--json"), size: int = 0) -> None:
    """Fail."""
    raise ERRORS[kind][0]


def invoke(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, args)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("kind", ERRORS)
def test_exit_codes(kind: str) -> None:
    error, wanted = ERRORS[kind]
    code, out, err = invoke("fail", kind)
    assert code == wanted
    assert out == ""
    assert "Traceback" not in err
    if wanted != 130:
        assert err.startswith("error: ")
    if isinstance(error, errors.DeciderError):
        assert str(error) in err


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind != "interrupted"])
def test_for_programs_errors_are_json(kind: str) -> None:
    error, wanted = ERRORS[kind]
    code, out, err = invoke("fail", kind, "--json")
    said = json.loads(err)["error"]
    assert (code, out) == (wanted, "")
    assert said["exit_code"] == wanted
    assert said["type"] == type(error).__name__


def test_every_violation_is_named() -> None:
    violations = [errors.Violation("a[1]", "must be x, got 1"), errors.Violation("b", "must be y, got 2")]
    ERRORS["two"] = (errors.InvalidInput(violations), 2)
    try:
        err = invoke("fail", "two")[2]
        assert err.splitlines() == [
            "error: 2 rules are broken",
            "  a[1] must be x, got 1",
            "  b must be y, got 2",
        ]
        said = json.loads(invoke("fail", "two", "--json")[2])["error"]
        assert [each["field"] for each in said["violations"]] == ["a[1]", "b"]
    finally:
        del ERRORS["two"]


def test_debug_shows_where_it_came_from() -> None:
    code, _, err = invoke("--debug", "fail", "unexpected")
    assert code == 1
    assert "Traceback" in err
    assert "ZeroDivisionError" in err


def test_wrong_calls() -> None:
    for args in (
        ("fail",),
        ("fail", "invalid", "--size", "x"),
        ("fail", "invalid", "--no-such"),
        ("nothing",),
    ):
        code, out, err = invoke(*args)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert "--help" in err
    code, _, err = invoke("fail", "--json")
    assert code == 2
    assert "KIND" in json.loads(err)["error"]["message"].upper()


def test_ctrl_c_ends_a_real_process(house: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "decider.cli.main",
        "evaluate",
        str(house / "feedback"),
        "--reward",
        "visit",
    ]
    command += ["--resamples", "100000", "--models", str(house / "models")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("judging")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert (out, err) == ("", "interrupted\n")
