"""The report as a document: whole, self-contained, every chart with a text and a table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from decider.reporting import Report, html_of, write_report
from decider.reporting.sections.decided import REASONS
from decider_core import reasons
from tests.reporting.small_report import small_report

SECTIONS = [
    "data",
    "decided",
    "cells",
    "price",
    "estimates",
    "uplift",
    "posteriors",
    "experiment-trial",
    "exploration",
]
EMPTY = {"meta", "link"}


class Outline(HTMLParser):
    """Sections with what stands in them; fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: dict[str, list[tuple[str, dict[str, str | None]]]] = {}
        self.ids: list[str] = []
        self.section = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.section = str(given["id"])
            self.sections[self.section] = []
        elif self.section:
            self.sections[self.section].append((tag, given))
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return html_of(report)


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    assert found.open == []
    return found


def test_every_section_is_there_warnings_first(outline: Outline, html: str) -> None:
    assert list(outline.sections) == SECTIONS
    assert re.findall(r'<a href="#([\w-]+)">', html) == SECTIONS
    assert len(outline.ids) == len(set(outline.ids))


def test_every_section_draws_marks(outline: Outline) -> None:
    for name, tags in outline.sections.items():
        marks = [tag for tag, given in tags if "mark" in (given.get("class") or "").split()]
        assert marks, name


def test_nothing_comes_from_elsewhere(html: str) -> None:
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "<script" not in html
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', html) == ["data:,"]


def test_every_chart_has_a_text_axes_and_a_table(html: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert len(figures) >= len(SECTIONS)
    for figure in figures:
        assert figure.count("<table>") == 1
        for drawing in re.findall(r"<svg.*?</svg>", figure, re.DOTALL):
            root = ET.fromstring(drawing)
            assert root.get("role") == "img"
            assert len(root.get("aria-label") or "") > 10
            titles = [each.text for each in root.iter("text") if each.get("class") == "axis"]
            assert titles
            assert all(titles)
            places = [float(value) for value in re.findall(r'\b(?:x|y|cx|cy|x1|x2|y1|y2)="([^"]*)"', drawing)]
            assert all(abs(place) < 1000 for place in places)


def test_the_same_report_gives_the_same_text(report: Report, html: str, tmp_path: Path) -> None:
    assert html_of(report) == html
    path = tmp_path / "report.html"
    write_report(report, path)
    assert path.read_text("utf-8") == html
    assert list(tmp_path.iterdir()) == [path]


def test_names_are_text_and_never_markup(report: Report) -> None:
    strange = '<script>alert("x")</script> & "quotes"'
    run = report.run
    assert run is not None
    named = replace(report, title=strange, run=replace(run, policy=strange, per_candidate={strange: 10}))
    html = html_of(named)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_wrong_propensities_are_a_warning(report: Report) -> None:
    check = report.data.checks[0]
    wrong = replace(report.data, checks=[check._replace(ratio=0.8, z=-9.0)], sample_ratio=1e-12)
    html = html_of(replace(report, data=wrong))
    assert "do not come as often as their propensities say" in html
    assert "0.800 times as often" in html
    first, second = html.index("no policy is judged"), html.index('id="estimates"')
    assert first < second


def test_what_is_not_known_is_left_out(report: Report) -> None:
    found = Outline()
    found.feed(html_of(replace(report, run=None, price=None, uplift=None, posteriors=None, more=())))
    assert list(found.sections) == ["data", "estimates", "exploration"]


def test_every_reason_has_words() -> None:
    assert set(reasons.NAMES) - {"eligible"} <= set(REASONS)


def test_a_report_is_made_of_its_inputs_alone(report: Report, html: str, tmp_path: Path) -> None:
    assert html_of(small_report(tmp_path)) == html


def test_a_figure_is_drawn_for_wide_and_narrow(html: str) -> None:
    assert html.count('class="drawing wide"') == html.count('class="drawing narrow"') > 0
