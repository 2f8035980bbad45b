"""The charts of the report: intervals, bars, curves with bands, points with errors. Each is one SVG drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from decider.reporting.svg import (
    CHARACTER,
    Axis,
    Scale,
    bottom_axis,
    drawing,
    left_axis,
    left_room,
    tag,
    words,
)

WIDE: Final = 760
"""Width of a drawing across the page."""
NARROW: Final = 350
"""Width of a drawing across a phone, or half the page."""

Ends = tuple[float, float]


class Row(NamedTuple):
    """One line of an interval chart.

    Parameters
    ----------
    label
        What it is.
    value
        The estimate; None where there is none.
    ends
        Of its interval.
    text
        The numbers, or the reason why there are none.
    outer
        Ends of a wider interval, drawn thinner.
    hue
        Which of the hues; 0 is the quiet one.
    """

    label: str
    value: float | None
    ends: Ends | None
    text: str
    outer: Ends | None = None
    hue: int = 1


class Curve(NamedTuple):
    """One line of a curve chart, with a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    hue: int = 1
    is_dashed: bool = False


class Mark(NamedTuple):
    """A place on a curve chart that has a name."""

    label: str
    x: float
    y: float
    hue: int = 2
    is_open: bool = False


class Dot(NamedTuple):
    """One point of a scatter chart, with the ends of its error."""

    label: str
    x: float
    y: float
    ends: Ends | None = None
    hue: int = 1


def interval_chart(
    rows: Sequence[Row], axis: Axis, label: str, width: int = WIDE, reference: float | None = None
) -> str:
    """Draw one interval a row, with its numbers beside (wide) or above (narrow)."""
    narrow = width < 500
    left = 0.0 if narrow else min(230.0, 18 + CHARACTER * max(len(row.label) for row in rows))
    right = width - 8.0 if narrow else width - 20 - CHARACTER * max(len(row.text) for row in rows)
    step, top = (46, 10) if narrow else (34, 8)
    bottom = top + step * len(rows)
    values = [
        value
        for row in rows
        for value in (row.value, *(row.ends or ()), *(row.outer or ()))
        if value is not None
    ]
    if reference is not None:
        values.append(reference)
    scale = axis.scale(values, left + 8, right)
    parts = [bottom_axis(axis, scale, top, bottom)]
    if reference is not None:
        x = scale(reference)
        parts.append(tag("line", class_="reference", x1=x, x2=x, y1=top, y2=bottom))
    for place, row in enumerate(rows):
        middle = top + step * (place + 0.5) + (9 if narrow else 0)
        text_y = middle - 14 if narrow else middle + 4
        parts.append(tag("text", words(row.label), class_="label", x=0.0, y=text_y))
        parts.append(
            tag("text", words(row.text), class_="number", x=float(width), y=text_y, text_anchor="end")
        )
        parts.append(_interval(row, scale, middle))
    return drawing(width, bottom + 46, label, *parts)


def bar_chart(rows: Sequence[Row], axis: Axis, label: str, width: int = WIDE) -> str:
    """Draw one bar a row from zero, with its number beside (wide) or above (narrow)."""
    narrow = width < 500
    left = 0.0 if narrow else min(280.0, 18 + CHARACTER * max(len(row.label) for row in rows))
    right = width - 8.0 if narrow else width - 20 - CHARACTER * max(len(row.text) for row in rows)
    step, top = (42, 10) if narrow else (32, 8)
    bottom = top + step * len(rows)
    values = [0.0, *(row.value for row in rows if row.value is not None)]
    scale = axis.scale(values, left + (0 if narrow else 8), right)
    parts = [bottom_axis(axis, scale, top, bottom)]
    for place, row in enumerate(rows):
        middle = top + step * (place + 0.5) + (9 if narrow else 0)
        text_y = middle - 12 if narrow else middle + 4
        parts.append(tag("text", words(row.label), class_="label", x=0.0, y=text_y))
        parts.append(
            tag("text", words(row.text), class_="number", x=float(width), y=text_y, text_anchor="end")
        )
        if row.value is not None:
            ends = sorted((scale(0.0), scale(row.value)))
            title = tag("title", words(f"{row.label}: {row.text}"))
            parts.append(
                tag(
                    "rect", title, class_=f"mark bar h{row.hue}", x=ends[0], y=middle - 7.0,
                    width=max(ends[1] - ends[0], 1.5), height=14.0, rx=2,
                )
            )  # fmt: skip
    return drawing(width, bottom + 46, label, *parts)


def curve_chart(
    curves: Sequence[Curve],
    x_axis: Axis,
    y_axis: Axis,
    label: str,
    width: int = WIDE,
    marks: Sequence[Mark] = (),
    level: float | None = None,
    diagonal: tuple[Ends, Ends] | None = None,
) -> str:
    """Draw curves with bands, named places on them, a line at a level, and a straight line between two points."""
    height, top = (380.0 if width > 500 else 300.0), 34.0
    bottom = height - 50
    ys = [y for curve in curves for line in (curve.y, curve.low or (), curve.high or ()) for y in line]
    ys += [mark.y for mark in marks] + ([level] if level is not None else [])
    y_scale = y_axis.scale(ys, bottom, top)
    left = left_room(y_axis, y_scale)
    x_scale = x_axis.scale([x for curve in curves for x in curve.x], left, width - 14.0)
    parts = [left_axis(y_axis, y_scale, left, width - 14.0), bottom_axis(x_axis, x_scale, bottom, bottom)]
    if level is not None:
        parts.append(
            tag("line", class_="reference", x1=left, x2=width - 14.0, y1=y_scale(level), y2=y_scale(level))
        )
    if diagonal is not None:
        (x1, y1), (x2, y2) = diagonal
        parts.append(
            tag("line", class_="reference", x1=x_scale(x1), y1=y_scale(y1), x2=x_scale(x2), y2=y_scale(y2))
        )
    for curve in curves:
        if curve.low is not None and curve.high is not None:
            ring = [
                *zip(curve.x, curve.high, strict=True),
                *reversed([*zip(curve.x, curve.low, strict=True)]),
            ]
            parts.append(tag("polygon", class_=f"band h{curve.hue}", points=_points(ring, x_scale, y_scale)))
        line = _points([*zip(curve.x, curve.y, strict=True)], x_scale, y_scale)
        dashed = " dashed" if curve.is_dashed else ""
        parts.append(tag("polyline", class_=f"mark line h{curve.hue}{dashed}", points=line))
    named = [_named(mark, place, x_scale, y_scale, width, bottom) for place, mark in enumerate(marks)]
    # Signs lie over all names.
    parts += [name for name, _ in named] + [sign for _, sign in named]
    return drawing(width, height, label, *parts)


def scatter_chart(
    dots: Sequence[Dot],
    x_axis: Axis,
    y_axis: Axis,
    label: str,
    width: int = NARROW,
    *,
    is_shared: bool = True,
) -> str:
    """Draw points with their errors; and the line of equality; where `is_shared`, one scale holds for both axes."""
    height, top = (330.0 if width > 500 else 310.0), 34.0
    bottom = height - 50
    xs = [dot.x for dot in dots]
    ys = [y for dot in dots for y in (dot.y, *(dot.ends or ()))]
    y_scale = y_axis.scale([*xs, *ys] if is_shared else ys, bottom, top)
    left = left_room(y_axis, y_scale)
    x_scale = x_axis.scale(xs, left, width - 14.0)
    parts = [left_axis(y_axis, y_scale, left, width - 14.0), bottom_axis(x_axis, x_scale, top, bottom)]
    low, high = max(x_scale.low, y_scale.low), min(x_scale.high, y_scale.high)
    if low < high:
        ends = {"x1": x_scale(low), "y1": y_scale(low), "x2": x_scale(high), "y2": y_scale(high)}
        parts.append(tag("line", class_="reference", **ends))
    for dot in dots:
        x = x_scale(dot.x)
        if dot.ends is not None:
            parts.append(
                tag(
                    "line",
                    class_=f"mark whisker h{dot.hue}",
                    x1=x,
                    x2=x,
                    y1=y_scale(dot.ends[0]),
                    y2=y_scale(dot.ends[1]),
                )
            )
        title = tag("title", words(dot.label))
        parts.append(tag("circle", title, class_=f"mark dot h{dot.hue}", cx=x, cy=y_scale(dot.y), r=4.5))
    return drawing(width, height, label, *parts)


def _interval(row: Row, scale: Scale, y: float) -> str:
    if row.value is None:
        return ""
    parts = [tag("title", words(f"{row.label}: {row.text}"))]
    for ends, kind in ((row.outer, "outer"), (row.ends, "whisker")):
        if ends is not None:
            parts.append(
                tag(
                    "line", class_=f"mark {kind} h{row.hue}", x1=scale(ends[0]), x2=scale(ends[1]), y1=y, y2=y
                )
            )
    parts.append(tag("circle", class_=f"mark dot h{row.hue}", cx=scale(row.value), cy=y, r=5.0))
    return tag("g", *parts)


def _named(
    mark: Mark, place: int, x_scale: Scale, y_scale: Scale, width: int, bottom: float
) -> tuple[str, str]:
    x, y = x_scale(mark.x), y_scale(mark.y)
    open_ = " open" if mark.is_open else ""
    # Curves mostly rise: what is above stands to the left, what is below to the right, where there is room.
    above = place % 2 == 0
    reach = 24 + CHARACTER * max(len(line) for line in mark.label.split("\n"))
    to_left = x > x_scale.start + reach if above else x + reach > width
    lines = mark.label.split("\n")
    texts = [
        tag(
            "text",
            words(line),
            class_="label strong" if line == lines[0] else "label",
            x=x + (-12 if to_left else 12),
            y=y - 12 - 16 * (len(lines) - 1 - turn) if above else y + (36 if to_left else 22) + 16 * turn,
            text_anchor="end" if to_left else "start",
        )
        for turn, line in enumerate(lines)
    ]
    stem = tag("line", class_=f"stem h{mark.hue}", x1=x, x2=x, y1=y, y2=bottom)
    sign = tag("circle", class_=f"mark dot h{mark.hue}{open_}", cx=x, cy=y, r=6.5)
    return tag("g", *texts), tag("g", stem, sign)


def _points(places: Sequence[Ends], x_scale: Scale, y_scale: Scale) -> str:
    return " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in places)
