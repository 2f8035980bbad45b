"""The report in a real browser: from disk, without a network, at the width of a phone and of a desk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decider.reporting import Report, write_report

WIDTHS = {"phone": 390, "desktop": 1280}
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium is installed: the tests in a browser are left out"
)


@pytest.fixture(scope="module")
def path(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("browser") / "report.html"
    write_report(report, found)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        # A container's root has no sandbox to give; the page is our own.
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], ids="-".join)
def page(request: pytest.FixtureRequest, browser: Any, path: Path) -> Iterator[Any]:
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, offline=True
    )
    found = context.new_page()
    found.said = []
    found.asked = []
    found.on("console", lambda message: found.said.append(message.text))
    found.on("pageerror", lambda error: found.said.append(str(error)))
    found.on("request", lambda asked: found.asked.append(asked.url))
    found.goto(path.as_uri())
    yield found
    context.close()


def test_it_opens_without_errors_and_asks_for_nothing(page: Any, path: Path) -> None:
    assert page.said == []
    assert [url for url in page.asked if url not in (path.as_uri(), "data:,")] == []


def test_nothing_sticks_out_to_the_side(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_every_text_of_a_chart_is_large_enough_to_read_and_inside_its_figure(page: Any) -> None:
    found = page.evaluate(
        """() => [...document.querySelectorAll('.chart text')].map(text => {
             const box = text.getBoundingClientRect(), figure = text.closest('figure').getBoundingClientRect();
             return [text.textContent, box.height, Math.min(box.left - figure.left, figure.right - box.right)];
           }).filter(([, height]) => height > 0)"""
    )
    assert len(found) > 100
    assert [text for text, height, _ in found if height < 10] == []
    assert [text for text, _, room in found if room < 0] == []


def test_every_section_has_its_marks_drawn(page: Any) -> None:
    sections = page.query_selector_all("section")
    assert len(sections) == 9
    drawn = {each.get_attribute("id"): [f.screenshot() for f in visible_charts(each)] for each in sections}
    page.add_style_tag(content=".mark { visibility: hidden }")
    bare = {each.get_attribute("id"): [f.screenshot() for f in visible_charts(each)] for each in sections}
    for name, charts in drawn.items():
        assert charts, name
        # What has marks looks otherwise without them.
        for with_marks, without in zip(charts, bare[name], strict=True):
            assert with_marks != without, name


def visible_charts(section: Any) -> list[Any]:
    return [each for each in section.query_selector_all("svg.chart") if each.is_visible()]


def test_axe_finds_nothing_serious(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    # What is folded away is looked at too.
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = axe.Axe().run(page).response["violations"]
    serious = [
        (each["id"], each["help"], each["nodes"][0]["html"][:200])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_the_keyboard_reaches_every_link_and_every_table(page: Any) -> None:
    wanted = page.evaluate("[...document.querySelectorAll('a, summary')].map(each => each.textContent)")
    reached = []
    for _ in range(len(wanted) + 10):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached[0] == "Skip to the content"
    assert set(wanted) <= set(reached)
