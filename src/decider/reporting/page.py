"""The page: one HTML document with its styles inside, sections, figures, tables. It opens without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal, NamedTuple

from decider.reporting.charts import NARROW, WIDE
from decider.reporting.svg import tag, words

Cell = str | int | float | None
Level = Literal["good", "note", "warning"]

# Also intervals: they line up when they stand to the right.
_NUMBER = re.compile(r"\[?[+\-\u2212]?\d[\d,.]*( %)?( \(|$| \[|, )")
_ICONS = {"good": "\u2713", "note": "i", "warning": "!"}
_LEVELS = {"good": "Good", "note": "Note", "warning": "Warning"}


class Key(NamedTuple):
    """What a sign in a chart means: `line`, `dashed`, `band`, `dot`, `open` or `reference`, in one of the hues."""

    label: str
    sign: str
    hue: int = 1


@dataclass(frozen=True)
class Table:
    """Numbers, such as those behind a chart.

    Parameters
    ----------
    header
        Names of the columns; the first one names the row.
    rows
        Texts stand to the left, numbers to the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Figure:
    """A chart with its title, how to read it, and its numbers as a table.

    Parameters
    ----------
    title
        What it shows.
    draw
        Draws it at a width.
    table
        Its numbers.
    reading
        How to read it, in a sentence.
    keys
        What its signs mean.
    is_half
        Takes half the page where there is room.
    """

    title: str
    draw: Callable[[int], str]
    table: Table
    reading: str = ""
    keys: Sequence[Key] = ()
    is_half: bool = False


class Finding(NamedTuple):
    """A line that is read first, with a sign that says how bad it is."""

    level: Level
    text: str


class Tile(NamedTuple):
    """A number that the page opens with."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    anchor
        Its address within the page.
    title
        Its heading.
    lead
        What it tells, in a sentence.
    link
        Its name where sections are listed: a word.
    findings
        Before its figures.
    figures
        In order; two halves that follow one another stand side by side.
    tables
        Titles and tables that stand open.
    """

    anchor: str
    title: str
    lead: str
    link: str
    findings: Sequence[Finding] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[tuple[str, Table]] = field(default_factory=tuple)


def page(
    title: str,
    subtitle: str,
    facts: Sequence[tuple[str, str]],
    tiles: Sequence[Tile],
    sections: Sequence[Section],
) -> str:
    """Put the document together.

    Parameters
    ----------
    title, subtitle
        The heading, and the line under it.
    facts
        Where it all comes from, as names and values.
    tiles
        The numbers to open with.
    sections
        In order.
    """
    style = (files("decider.reporting") / "style.css").read_text("utf-8")
    links = "".join(
        tag("li", tag("a", words(section.link), href=f"#{section.anchor}")) for section in sections
    )
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # An empty icon, so that none is asked for.
        '<link rel="icon" href="data:,">'
        + tag("title", words(f"{title} \u00b7 Decider"))
        + tag("style", style)
    )
    body = (
        tag("a", "Skip to the content", class_="skip", href="#content")
        + tag(
            "header",
            tag("p", "Decider report", class_="eyebrow"),
            tag("h1", words(title)),
            tag("p", words(subtitle), class_="subtitle"),
            _tiles(tiles),
        )
        + tag("nav", tag("ul", links), aria_label="Sections")
        + tag("main", *map(_section, sections), id="content")
        + tag("footer", tag("h2", "Where this comes from"), _facts(facts))
    )
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), tag("body", body), lang="en") + "\n"


def _section(section: Section) -> str:
    heading = f"{section.anchor}-title"
    parts = [
        tag("h2", words(section.title), id=heading),
        tag("p", words(section.lead), class_="lead"),
    ]
    if section.findings:
        parts.append(tag("ul", *map(_finding, section.findings), class_="findings"))
    parts.append(tag("div", *map(_figure, section.figures), class_="figures"))
    for name, table in section.tables:
        parts += [tag("h3", words(name)), _table(table, name)]
    return tag("section", *parts, id=section.anchor, aria_labelledby=heading)


def _figure(figure: Figure) -> str:
    if figure.is_half:
        drawings = tag("div", figure.draw(NARROW), class_="drawing")
    else:
        # The same chart twice, each with text of a size to read; styles show one of them.
        drawings = tag("div", figure.draw(WIDE), class_="drawing wide") + tag(
            "div", figure.draw(NARROW), class_="drawing narrow"
        )
    caption = tag("span", words(figure.title), class_="title")
    if figure.reading:
        caption += tag("span", words(figure.reading), class_="reading")
    keys = tag("ul", *map(_key, figure.keys), class_="keys") if figure.keys else ""
    numbers = tag(
        "details", tag("summary", f"Numbers: {words(figure.title)}"), _table(figure.table, figure.title)
    )
    kind = "half" if figure.is_half else "full"
    return tag("figure", tag("figcaption", caption), keys, drawings, numbers, class_=kind)


def _key(key: Key) -> str:
    return tag("li", tag("span", class_=f"sign {key.sign} h{key.hue}", aria_hidden="true"), words(key.label))


def _finding(finding: Finding) -> str:
    icon = tag("span", _ICONS[finding.level], class_="icon", aria_hidden="true")
    said = tag("span", f"{_LEVELS[finding.level]}: ", class_="unseen") + words(finding.text)
    return tag("li", icon, tag("span", said), class_=finding.level)


def _tiles(tiles: Sequence[Tile]) -> str:
    drawn = [
        tag(
            "div",
            tag("dt", words(tile.name)),
            tag("dd", words(tile.value), class_="value"),
            tag("dd", words(tile.note), class_="note") if tile.note else "",
        )
        for tile in tiles
    ]
    return tag("dl", *drawn, class_="tiles") if drawn else ""


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return tag(
        "dl", *(tag("div", tag("dt", words(n)), tag("dd", words(v))) for n, v in facts), class_="facts"
    )


def _table(table: Table, name: str) -> str:
    numeric = [all(_is_number(row[place]) for row in table.rows) for place in range(len(table.header))]
    head = "".join(
        tag("th", words(text), scope="col", class_="number" if number else None)
        for text, number in zip(table.header, numeric, strict=True)
    )
    lines = []
    for row in table.rows:
        first = tag("th", words(_written(row[0])), scope="row", class_="number" if numeric[0] else None)
        rest = (
            tag("td", words(_written(value)), class_="number" if number else None)
            for value, number in zip(row[1:], numeric[1:], strict=True)
        )
        lines.append(tag("tr", first, *rest))
    body = tag("table", tag("thead", tag("tr", head)), tag("tbody", *lines))
    # A wide table is scrolled by itself, also by keys.
    return tag("div", body, class_="scroll", role="region", tabindex="0", aria_label=f"Table: {name}")


def _is_number(value: Cell) -> bool:
    return not isinstance(value, str) or value == "refused" or bool(_NUMBER.match(value))


def _written(value: Cell) -> str:
    match value:
        case None:
            return "\u2013"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.5g}"
    return value
