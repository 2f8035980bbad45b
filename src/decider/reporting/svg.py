"""A small writer of SVG and HTML: elements, linear scales, ticks, and the frame of a chart with its axes."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

CHARACTER: Final = 7.0
"""Width of a character of a chart's text, on average, in units of the view box."""


def tag(name: str, /, *children: str, **attributes: object) -> str:
    """Write an element; attributes are escaped, children are not.

    Underscores in names of attributes become hyphens, one at the end is left out; None leaves out the attribute.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_written(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(children)}</{name}>"


def words(text: str) -> str:
    """Escape text that stands between tags."""
    return html.escape(text, quote=False)


class Scale(NamedTuple):
    """From values to places in the view box."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value stands, cut off at the ends of the scale."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Parameters
    ----------
    title
        With its unit.
    form
        Writes the value of a tick.
    include
        Values that must be on it, such as 0.
    ends
        Exactly these, instead of what the data ask for.
    is_whole
        Ticks stand at whole numbers only.
    """

    title: str
    form: Callable[[float], str]
    include: tuple[float, ...] = ()
    ends: tuple[float, float] | None = None
    is_whole: bool = False

    def scale(self, values: list[float], start: float, end: float) -> Scale:
        """A scale that holds all values, with a little room."""
        if self.ends is not None:
            return Scale(*self.ends, start, end)
        found = [value for value in (*values, *self.include) if math.isfinite(value)]
        low, high = (min(found), max(found)) if found else (0.0, 1.0)
        if low == high:
            low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
        room = 0.04 * (high - low)
        # An end that is zero by nature stays so.
        return Scale(low if low == 0.0 else low - room, high if high == 0.0 else high + room, start, end)


def ticks(low: float, high: float, most: int, least_step: float = 0.0) -> list[float]:
    """Round values between two ends, as many as `most` and mostly not far fewer, no closer than `least_step`."""
    rough = max((high - low) / max(most, 1), least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    nice = (1, 2, 5, 10) if least_step else (1, 2, 2.5, 5, 10)
    step = next(each * power for each in nice if each * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [0.0 if place == 0 else place * step for place in range(first, last + 1)]


def bottom_axis(axis: Axis, scale: Scale, top: float, bottom: float) -> str:
    """Ticks with grid lines, and the title beneath."""
    parts = []
    room = abs(scale.end - scale.start)
    shown = ticks(scale.low, scale.high, max(2, min(7, int(room / 62))), float(axis.is_whole))
    for value in shown:
        x = scale(value)
        parts.append(tag("line", class_="grid", x1=x, x2=x, y1=top, y2=bottom))
        parts.append(
            tag("text", words(axis.form(value)), class_="tick", x=x, y=bottom + 17, text_anchor="middle")
        )
    middle = (scale.start + scale.end) / 2
    parts.append(tag("text", words(axis.title), class_="axis", x=middle, y=bottom + 37, text_anchor="middle"))
    return "".join(parts)


def left_axis(axis: Axis, scale: Scale, left: float, right: float) -> str:
    """Ticks with grid lines; the title stands above, so that it reads from left to right."""
    parts = []
    for value in ticks(scale.low, scale.high, max(2, min(6, int(abs(scale.end - scale.start) / 44)))):
        y = scale(value)
        parts.append(tag("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
        parts.append(
            tag("text", words(axis.form(value)), class_="tick", x=left - 8, y=y + 4, text_anchor="end")
        )
    parts.append(tag("text", words(axis.title), class_="axis", x=0, y=scale.end - 14))
    return "".join(parts)


def left_room(axis: Axis, scale: Scale) -> float:
    """How much room the ticks of a left axis take."""
    shown = ticks(scale.low, scale.high, max(2, min(6, int(abs(scale.end - scale.start) / 44))))
    return 14 + CHARACTER * max((len(axis.form(value)) for value in shown), default=1)


def drawing(width: float, height: float, label: str, *parts: str) -> str:
    """A drawing with a text for those who do not see it."""
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_written(width)} {_written(height)}",
        role="img",
        aria_label=label,
        class_="chart",
    )


def _written(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
