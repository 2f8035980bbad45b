"""`decider bench`: every kernel and path beside its baseline, in one run on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from decider.bench import (
    NAMES,
    SHORT,
    Effort,
    Row,
    Verdict,
    case_named,
    medians,
    read_reference,
    run_cases,
    write_reference,
)
from decider.cli.failures import UNEXPECTED
from decider.cli.options import examples
from decider.cli.output import Machine, emit, progress, say, table
from decider.errors import InvalidInput

EXAMPLES = examples(
    "decider bench",
    "decider bench --case thompson --case forest",
    "decider bench --json > bench.json",
    "decider bench --short --against benchmarks/reference.json",
    "decider bench --short --record benchmarks/reference.json",
    "Exit code 1 when a goal does not hold, or a fifth of a reference ratio is lost.",
)
PASSES = 3
"""Runs whose median is recorded."""


def bench(
    case: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Only these: {', '.join(NAMES)}.")
    ] = None,
    short: Annotated[
        bool,
        typer.Option(
            "--short",
            help="Small sizes on one thread; without bulk, batch, decide; goals do not count.",
        ),
    ] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fail where a fifth of a ratio of this file is lost.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Write ratios to be held: medians of {PASSES} runs.")
    ] = None,
    machine: Machine = False,
) -> None:
    """Measure this machine: each case beside its baseline in the same run, and whether its goal holds.

    A ratio is value over baseline. With --json a list of rows. Nothing else should run meanwhile; without --short
    it takes about ten minutes.
    """
    if (against or record) and not short:
        raise InvalidInput.of("against" if against else "record", "needs --short", str(against or record))
    cases = [case_named(name) for name in (case or (SHORT if short else NAMES))]
    reference = None if against is None else read_reference(against)
    passes: list[list[Verdict]] = []
    try:
        with progress(machine) as advance:
            effort = Effort(short, report=advance)
            for _ in range(PASSES if record else 1):
                passes.append([])
                for verdicts in run_cases(cases, effort, reference):
                    passes[-1] += verdicts
    finally:
        # What was measured is shown, whatever broke the rest off.
        if passes:
            _show(passes[-1], machine)
    if record:
        write_reference(record, medians([verdict.row for verdict in each] for each in passes))
        say(f"written to {record}: medians of {PASSES} runs", machine)
    for verdict in passes[-1]:
        if reference is not None and verdict.kept is None:
            say(f"no reference ratio for {verdict.row.key}: record it", machine)
    failed = [verdict for verdict in passes[-1] if not verdict.passes]
    for verdict in failed:
        say(_fault(verdict), machine)
    if failed:
        raise typer.Exit(UNEXPECTED)


def _show(verdicts: list[Verdict], machine: bool) -> None:
    gated = any(verdict.kept is not None for verdict in verdicts)
    payload = [_payload(verdict, gated) for verdict in verdicts]
    header = ["case", "shape", "value", "unit", "against", "baseline", "ratio", "goal", "holds"]
    if gated:
        header += ["kept"]
    rows = [_cells(verdict, gated) for verdict in verdicts]
    emit(payload, machine, table("On this machine, medians of one run", header, rows))


def _payload(verdict: Verdict, gated: bool) -> dict[str, Any]:
    return verdict.row._asdict() | ({"kept": verdict.kept, "lost": verdict.lost} if gated else {})


def _cells(verdict: Verdict, gated: bool) -> list[object]:
    row = verdict.row
    cells: list[object] = [
        row.case, row.shape, _figure(row.value), row.unit, row.against, _figure(row.baseline),
        _figure(row.ratio), _goal(row), row.holds,
    ]  # fmt: skip
    if gated:
        cells.append("" if verdict.kept is None else f"{verdict.kept:.0%}")
    return cells


def _figure(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    return f"{'at most' if row.at_most else 'at least'} {_figure(row.goal)}"


def _fault(verdict: Verdict) -> str:
    row = verdict.row
    said = f"{row.case} {row.shape}: {_figure(row.ratio)} times {row.against}"
    if verdict.lost:
        return f"lost: {said}, only {verdict.kept:.0%} of the reference"
    return f"missed: {said}, must be {_goal(row)}"
