"""Ticks, scales and escapes of drawings."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider.reporting.svg import Axis, Scale, tag, ticks, words

NUMBERS = st.floats(-1e9, 1e9)


@given(NUMBERS, st.floats(1e-6, 1e9), st.integers(2, 7))
def test_ticks_lie_within_and_are_few(low: float, reach: float, most: int) -> None:
    high = low + reach
    if high <= low:
        return
    found = ticks(low, high, most)
    slack = 1e-6 * max(abs(low), abs(high), reach)
    assert all(low - slack <= value <= high + slack for value in found)
    assert len(found) <= most + 1
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("low", "high", "most", "step", "expected"),
    [
        (0.0, 1.0, 4, 0.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (-3.0, 7.0, 5, 0.0, [-2.0, 0.0, 2.0, 4.0, 6.0]),
        (1.0, 4.0, 7, 1.0, [1.0, 2.0, 3.0, 4.0]),
        (1.0, 2.0, 7, 1.0, [1.0, 2.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, step: float, expected: list[float]) -> None:
    assert ticks(low, high, most, step) == pytest.approx(expected)


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_a_scale_holds_all_its_values(values: list[float]) -> None:
    scale = Axis("x", str).scale(values, 0.0, 100.0)
    assert all(0.0 <= scale(value) <= 100.0 for value in values)
    assert scale.low < scale.high


def test_beyond_its_ends_a_scale_stops() -> None:
    assert Scale(0.0, 1.0, 10.0, 20.0)(2.0) == 20.0


def test_what_is_written_is_read_again() -> None:
    text = "<a> & \"b\" 'c'"
    read = ET.fromstring(tag("text", words(text), aria_label=text, class_=None))
    assert read.text == text
    assert read.attrib == {"aria-label": text}
