"""`decider bench`: rows of ratios, goals and references, with cases whose times are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from decider.bench import NAMES, Case, Effort, Row, case_named, row_of
from tests.cli.small_house import run

GIVEN: list[float] = []
"""Ratios that the case gives, one a run; the last one ever after."""


def given(effort: Effort) -> Iterator[Row]:
    ratio = GIVEN.pop(0) if len(GIVEN) > 1 else GIVEN[0]
    yield row_of("given", "m10-t1", 10.0 * ratio, "members/s", "NumPy", 10.0, 2.0)


@pytest.fixture(autouse=True)
def given_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decider.cli.bench.case_named", lambda name: Case(name, "", given))


def test_a_goal_that_holds() -> None:
    GIVEN[:] = [2.0]
    answer = run("bench", "--case", "given", "--json")
    assert answer.code == 0
    assert answer.json == [
        {
            "case": "given", "shape": "m10-t1", "value": 20.0, "unit": "members/s", "against": "NumPy",
            "baseline": 10.0, "ratio": 2.0, "goal": 2.0, "at_most": False, "holds": True,
        }
    ]  # fmt: skip
    assert "at least 2" in run("bench", "--case", "given").out


def test_a_goal_that_is_missed() -> None:
    GIVEN[:] = [1.9]
    answer = run("bench", "--case", "given")
    assert answer.code == 1
    assert "missed: given m10-t1: 1.9 times NumPy, must be at least 2" in answer.err


def test_the_short_form_has_no_goals() -> None:
    GIVEN[:] = [1.9]
    answer = run("bench", "--case", "given", "--short", "--json")
    assert answer.code == 0
    assert answer.json[0]["goal"] is None


def test_a_recorded_ratio_is_held(tmp_path: Path) -> None:
    reference = tmp_path / "reference.json"
    GIVEN[:] = [3.0, 5.0, 4.0]
    assert run("bench", "--case", "given", "--short", "--record", reference).code == 0
    assert reference.read_text() == '{\n  "given m10-t1 / NumPy": 4.0\n}\n'
    GIVEN[:] = [3.3]
    answer = run("bench", "--case", "given", "--short", "--against", reference, "--json")
    assert answer.code == 0
    assert answer.json[0]["kept"] == pytest.approx(0.825)
    GIVEN[:] = [3.1]
    answer = run("bench", "--case", "given", "--short", "--against", reference)
    assert answer.code == 1
    assert "only 78% of the reference" in answer.err


def test_what_falls_short_once_is_measured_again(tmp_path: Path) -> None:
    reference = tmp_path / "reference.json"
    reference.write_text('{"given m10-t1 / NumPy": 4.0}')
    GIVEN[:] = [1.0, 3.9, 1.0]
    answer = run("bench", "--case", "given", "--short", "--against", reference, "--json")
    assert answer.code == 0
    assert answer.json[0]["ratio"] == pytest.approx(3.9)


def test_a_case_without_reference_is_named(tmp_path: Path) -> None:
    reference = tmp_path / "reference.json"
    reference.write_text("{}")
    GIVEN[:] = [1.0]
    answer = run("bench", "--case", "given", "--short", "--against", reference)
    assert answer.code == 0
    assert "no reference ratio for given m10-t1 / NumPy" in answer.err


@pytest.mark.parametrize("content", ["{", '{"a": "b"}', "[1]"])
def test_a_broken_reference_is_refused(tmp_path: Path, content: str) -> None:
    reference = tmp_path / "reference.json"
    reference.write_text(content)
    answer = run("bench", "--case", "given", "--short", "--against", reference)
    assert answer.code == 3
    assert "must hold ratios by name" in answer.err


def test_wrong_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decider.cli.bench.case_named", case_named)
    answer = run("bench", "--case", "speed")
    assert answer.code == 2
    assert "case must be one of" in answer.err
    answer = run("bench", "--record", tmp_path / "reference.json")
    assert answer.code == 2
    assert "needs --short" in answer.err


@pytest.mark.parametrize("name", NAMES)
def test_every_case_has_its_module(name: str) -> None:
    assert case_named(name).name == name


def test_a_real_case() -> None:
    rows = list(case_named("gram").measure(Effort(short=True)))
    assert {row.case for row in rows} == {"gram"}
    assert all(row.ratio > 0 for row in rows)
