"""What all commands say and how: tables for people, one JSON object for programs, errors and progress aside.

Standard output carries the answer and nothing else; progress, hints and errors go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Protocol, TextIO

import msgspec
import numpy as np
import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

Payload = Mapping[str, Any]


class Advance(Protocol):
    """What is told how far work is."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` (None: not known) of a stage."""


Machine = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

PLAIN_WIDTH = 140
"""Columns of text when it does not go to a terminal."""


def emit(payload: Payload | Sequence[Payload], machine: bool, *drawn: RenderableType) -> None:
    """Print an answer: the payload as JSON for programs, the drawn tables and lines for people.

    Notes
    -----
    JSON has no NaN and no infinities; they come out as null.
    """
    if machine:
        sys.stdout.write(as_json(payload) + "\n")
        sys.stdout.flush()
        return
    console = _console(sys.stdout)
    for part in drawn:
        console.print(part, markup=False, highlight=False)


def as_json(payload: Payload | Sequence[Payload]) -> str:
    """One line of JSON."""
    return msgspec.json.encode(payload, enc_hook=_builtin).decode()


def say(text: str, machine: bool = False) -> None:
    """Print a line for people on standard error; nothing for programs."""
    if not machine:
        _console(sys.stderr).print(text, markup=False, highlight=False)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """Lay out rows; numbers stand to the right, and what looks like markup is left as it is."""
    body = [list(row) for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD)
    for place, name in enumerate(header):
        numeric = any(isinstance(row[place], (int, float)) for row in body)
        # The first column names the row, often by an id to be copied: it is the last to be folded.
        justify: Literal["left", "right"] = "right" if numeric else "left"
        drawn.add_column(Text(name), justify=justify, overflow="fold", no_wrap=place == 0)
    for row in body:
        drawn.add_row(*(Text(written(value)) for value in row))
    return _titled(title, drawn)


def facts(title: str, pairs: Mapping[str, object]) -> RenderableType:
    """Lay out names and their values in two columns; what is None or empty text is left out."""
    drawn = Table(show_header=False, box=box.SIMPLE)
    for name, value in pairs.items():
        if value is not None and value != "":
            drawn.add_row(Text(name), Text(written(value)))
    return _titled(title, drawn)


def written(value: object) -> str:
    """Give a value as people read it: thousands apart, six digits of a fraction, lists with commas."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | np.integer():
            return f"{value:,}"
        case float() | np.floating():
            return f"{value:.6g}"
        case Mapping():
            return ", ".join(f"{name} {written(each)}" for name, each in value.items())
        case list() | tuple():
            return ", ".join(map(written, value))
    return str(value)


@contextmanager
def progress(machine: bool = False) -> Iterator[Advance]:
    """Show on a terminal how far work is; elsewhere, and for programs, nothing.

    Yields
    ------
    A function to be told the stage, how many are done, and of how many when that is known.
    """
    console = _console(sys.stderr)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    hidden = machine or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        bar = bars.add_task("", total=None)

        def advance(stage: str, done: int, total: int | None) -> None:
            if bars.tasks[bar].description != stage:
                bars.reset(bar, description=stage)
            bars.update(bar, completed=done, total=total)

        yield advance


def _titled(title: str, drawn: Table) -> RenderableType:
    # A table's own title is folded to the table's width.
    return Group(Text(title, "bold"), drawn)


def _console(stream: TextIO) -> Console:
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH)


def _builtin(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")
