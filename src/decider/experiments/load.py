"""Experiments from TOML files, and what an experiment must hold to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from decider.errors import InvalidInput, Violation
from decider.experiments.spec import Experiment

MOST_CELLS = 64


def load_experiment(path: Path) -> Experiment:
    """Read an experiment from a TOML file.

    Raises
    ------
    InvalidInput
        Naming the field, the rule and the value found.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidInput.of(
            "experiment", f"must be a readable file ({error.strerror})", str(path)
        ) from None
    try:
        experiment = msgspec.toml.decode(text, type=Experiment)
    except msgspec.DecodeError as error:
        raise InvalidInput([Violation("experiment", f"{error} in {path}")]) from None
    check_experiment(experiment)
    return experiment


def load_experiments(directory: Path) -> dict[str, Experiment]:
    """Read every ``*.toml`` of a folder, by name; none where there is no such folder.

    Raises
    ------
    InvalidInput
        Naming the field, the rule and the value found; also when two files have one name.
    """
    found: dict[str, Experiment] = {}
    for path in sorted(directory.glob("*.toml")) if directory.is_dir() else []:
        experiment = load_experiment(path)
        if experiment.name in found:
            raise InvalidInput.of("experiment.name", f"must be unique in {directory}", experiment.name)
        found[experiment.name] = experiment
    return found


def check_experiment(experiment: Experiment) -> None:
    """Refuse an experiment that cannot be run or read.

    Raises
    ------
    InvalidInput
        Naming every rule that is broken.
    """
    violations = [*_of_dates(experiment), *_of_cells(experiment), *_of_metrics(experiment)]
    violations += [
        Violation(field, f"must not be empty, got {getattr(experiment, field)!r}")
        for field in ("name", "salt", "holdout_salt")
        if not getattr(experiment, field).strip()
    ]
    for field, low, high in (
        ("alpha", 0.0, 0.5),
        ("sample_ratio_alpha", 0.0, 0.5),
        ("planned_members", 0, 2**53),
        ("first_look", 1, 2**53),
    ):
        value = getattr(experiment, field)
        if not low < value < high:
            violations.append(Violation(field, f"must be in ({low}, {high}), got {value}"))
    if experiment.before_days < 0:
        violations.append(Violation("before_days", f"must be >= 0, got {experiment.before_days}"))
    if violations:
        raise InvalidInput(violations)


def _of_dates(experiment: Experiment) -> list[Violation]:
    found = []
    for field in ("start", "end", "decision"):
        time = getattr(experiment, field)
        if time is not None and time.tzinfo is None:
            found.append(Violation(field, f"must have a zone, such as 2026-01-05T00:00:00Z, got {time}"))
    if found:
        return found
    if experiment.end <= experiment.start:
        found.append(Violation("end", f"must be after the start {experiment.start}, got {experiment.end}"))
    if experiment.decision is not None and experiment.decision <= experiment.start:
        found.append(Violation("decision", f"must be after the start, got {experiment.decision}"))
    return found


def _of_cells(experiment: Experiment) -> list[Violation]:
    found = []
    names = list(experiment.cell_names)
    if not 1 <= len(experiment.cell) < MOST_CELLS:
        found.append(Violation("cell", f"must hold 1 to {MOST_CELLS - 1} cells, got {len(experiment.cell)}"))
    found += [Violation("cell.name", f"must be unique, got {name!r} twice") for name in _double(names)]
    if experiment.control not in names[1:]:
        found.append(Violation("control", f"must name a cell, got {experiment.control!r}"))
    if not 0.0 <= experiment.holdout < 1.0:
        found.append(Violation("holdout", f"must be in [0, 1), got {experiment.holdout}"))
    for cell in experiment.cell:
        place = f"cell[{cell.name!r}]"
        if not cell.name.strip():
            found.append(Violation("cell.name", f"must not be empty, got {cell.name!r}"))
        if not cell.policy.strip():
            found.append(Violation(f"{place}.policy", f"must name a policy, got {cell.policy!r}"))
        if not 0.0 < cell.share <= 1.0:
            found.append(Violation(f"{place}.share", f"must be in (0, 1], got {cell.share}"))
    total = math.fsum(cell.share for cell in experiment.cell)
    if experiment.cell and not abs(total - 1.0) <= 1e-9:
        found.append(Violation("cell.share", f"must sum to 1 over the cells, got {total}"))
    return found


def _of_metrics(experiment: Experiment) -> list[Violation]:
    found = []
    names = [metric.name for metric in experiment.metric]
    found += [Violation("metric.name", f"must be unique, got {name!r} twice") for name in _double(names)]
    guards = [guardrail.name for guardrail in experiment.guardrail]
    found += [Violation("guardrail.name", f"must be unique, got {name!r} twice") for name in _double(guards)]
    for metric in experiment.metric:
        place = f"metric[{metric.name!r}]"
        if not metric.name.strip():
            found.append(Violation("metric.name", f"must not be empty, got {metric.name!r}"))
        for field in ("events", "per"):
            for event_type, worth in getattr(metric, field).items():
                if not math.isfinite(worth) or (field == "per" and worth <= 0.0):
                    rule = "finite" if field == "events" else "finite and > 0"
                    found.append(Violation(f"{place}.{field}.{event_type}", f"must be {rule}, got {worth}"))
        found += [
            Violation(f"{place}.use_value", f"must name a type of its events, got {event_type!r}")
            for event_type in metric.use_value
            if event_type not in metric.events
        ]
    for guardrail in experiment.guardrail:
        place = f"guardrail[{guardrail.name!r}]"
        if not (math.isfinite(guardrail.allowed_increase) and guardrail.allowed_increase >= 0.0):
            value = guardrail.allowed_increase
            found.append(Violation(f"{place}.allowed_increase", f"must be finite and >= 0, got {value}"))
        if not 0.0 < guardrail.alpha < 0.5:
            found.append(Violation(f"{place}.alpha", f"must be in (0, 0.5), got {guardrail.alpha}"))
    if (long_term := experiment.long_term) is not None:
        for field, wanted in (("metric", [long_term.metric]), ("surrogates", long_term.surrogates)):
            found += [
                Violation(f"long_term.{field}", f"must name a metric, got {name!r}")
                for name in wanted
                if name not in names
            ]
        for field in ("short_weeks", "late_weeks"):
            if getattr(long_term, field) < 1:
                found.append(
                    Violation(f"long_term.{field}", f"must be >= 1, got {getattr(long_term, field)}")
                )
    return found


def _double(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
