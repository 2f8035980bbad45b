"""What is printed, and how."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest

from decider.cli.output import as_json, emit, facts, progress, say, table, written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (np.int64(1_234_567), "1,234,567"),
        (0.123456789, "0.123457"),
        (["a", 2], "a, 2"),
        ({"email": 3, "sms": 0}, "email 3, sms 0"),
        ("messages[3].audience", "messages[3].audience"),
    ],
)
def test_written(value: object, text: str) -> None:
    assert written(value) == text


def test_json_has_no_nan() -> None:
    payload = {"a": math.nan, "b": -math.inf, "c": np.float32(0.5), "d": np.int16(3), "e": ("x",)}
    assert json.loads(as_json(payload)) == {"a": None, "b": None, "c": 0.5, "d": 3, "e": ["x"]}


def test_json_refuses_what_has_no_form() -> None:
    with pytest.raises(NotImplementedError, match="object has no form"):
        as_json({"a": object()})


def test_for_programs_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": 1}, True, facts("A", {"a": 1}))
    say("not for programs", True)
    with progress(True) as advance:
        advance("work", 1, 2)
    printed = capsys.readouterr()
    assert printed.out == '{"a":1}\n'
    assert printed.err == ""


def test_for_people_markup_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    emit(
        {},
        False,
        table("T [bold]", ("name", "n"), [("[red]x[/red]", 1_000)]),
        facts("F", {"[b]": "[i]", "no": None}),
    )
    said = capsys.readouterr().out
    for text in ("T [bold]", "[red]x[/red]", "1,000", "[b]", "[i]"):
        assert text in said
    assert "no" not in said.split("[i]")[0].split("F")[1]


def test_no_progress_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as advance:
        advance("work", 1, None)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with progress() as advance:
        advance("members", 3, 10)
        advance("checksums", 1, 4)
        advance("checksums", 4, 4)
    shown = terminal.getvalue()
    assert "checksums" in shown
    assert "4/4" in shown
    hidden = Terminal()
    monkeypatch.setattr("sys.stderr", hidden)
    with progress(True) as advance:
        advance("members", 3, 10)
    assert hidden.getvalue() == ""
