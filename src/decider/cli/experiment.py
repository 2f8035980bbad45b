"""`decider experiment`: check one, see whom it puts where, and read what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

from decider.cli.experiment_tables import drawn, payload_of
from decider.cli.failures import UNEXPECTED
from decider.cli.options import ConfigPath, configuration, examples, micros_of, moment, rfc3339
from decider.cli.output import Machine, emit, facts, say, table
from decider.config import Config
from decider.decision.policy import load_policies
from decider.errors import InvalidInput, NotFound, UnknownName
from decider.experiments import (
    Experiment,
    ReadOut,
    SurrogateIndex,
    fit_surrogates,
    load_experiment,
    outcomes_of_feedback,
    outcomes_of_log,
    read_out,
)
from decider.experiments.ratios import SHARES_CONCENTRATION
from decider.logbook.feedback import Feedback
from decider.logbook.store import Logbook
from decider.members import Snapshot
from decider_core.sequences import sequence_half_width, share_evidence

app = typer.Typer(no_args_is_help=True, help="Prove policies on members: check, assign, read.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="TOML file of the experiment.")]
CHECK_FAILED = UNEXPECTED


@app.command(epilog=examples("decider experiment check experiment.toml --config decider.toml"))
def check(file: File, config: ConfigPath = None, machine: Machine = False) -> None:
    """Say whether an experiment can be run, and how much it will be able to tell."""
    experiment = load_experiment(file)
    settings = configuration(config)
    policies = _check_policies(experiment, settings)
    # Two cells of equal size, of members whose numbers have a standard deviation of one.
    error = 2.0 / experiment.planned_members**0.5
    half = sequence_half_width(
        error, experiment.planned_members, experiment.planned_members, 1 - experiment.alpha
    )
    payload: dict[str, Any] = {
        "experiment": experiment.name,
        "version": experiment.version,
        "cells": _cells(experiment),
        "control": experiment.control,
        "start": rfc3339(experiment.start_micros),
        "decision": rfc3339(experiment.decision_micros),
        "end": rfc3339(experiment.end_micros),
        "traffic": experiment.traffic,
        "metrics": {metric.name: metric.role for metric in experiment.metric},
        "guardrails": [guardrail.name for guardrail in experiment.guardrail],
        "policies_checked": policies,
        "interval_at_planned_members": half,
    }
    rows = [(each["cell"], each["policy"], f"{each['share']:.2%}") for each in payload["cells"]]
    said = {name: payload[name] for name in ("version", "start", "decision", "end", "traffic", "control")}
    said["metrics"] = ", ".join(f"{metric.name} ({metric.role})" for metric in experiment.metric)
    said["guardrails"] = ", ".join(guardrail.name for guardrail in experiment.guardrail)
    said["intervals at the planned members"] = f"+- {half:.4f} standard deviations, at every look"
    said["policies"] = "known and right" if policies else "not checked: there is no policies file"
    emit(payload, machine, table(experiment.name, ("cell", "policy", "share"), rows), facts("", said))


@app.command(
    epilog=examples(
        "decider experiment assign experiment.toml --config decider.toml",
        "decider experiment assign experiment.toml --out cells.parquet",
    )
)
def assign(
    file: File,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file to make: member_id, cell.")] = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Count the members of the snapshot that each cell gets."""
    experiment = load_experiment(file)
    snapshot = Snapshot.open(configuration(config).path("snapshot"))
    cells = experiment.assign(snapshot.keys)
    counts = np.bincount(cells, minlength=len(experiment.cell_names)).astype(float)
    evidence = share_evidence(counts[None], np.array(experiment.shares)[None], SHARES_CONCENTRATION)[0]
    p_value = float(np.exp(-max(evidence, 0.0)))
    if out is not None:
        if out.exists():
            raise InvalidInput.of("out", "must not exist yet", str(out))
        names = pl.Series("cell", experiment.cell_names).gather(cells.astype(np.uint32))
        ids = snapshot.ids(np.arange(snapshot.n_members))
        pl.DataFrame([ids.alias("member_id"), names]).write_parquet(out)
    payload: dict[str, Any] = {
        "experiment": experiment.name,
        "version": experiment.version,
        "snapshot": snapshot.version,
        "members": snapshot.n_members,
        "cells": [each | {"members": int(n)} for each, n in zip(_cells(experiment), counts, strict=True)],
        "p_value": p_value,
        "out": None if out is None else str(out),
    }
    rows = [
        (each["cell"], each["policy"], each["members"], f"{each['members'] / max(snapshot.n_members, 1):.3%}",
         f"{each['share']:.3%}")
        for each in payload["cells"]
    ]  # fmt: skip
    header = ("cell", "policy", "members", "share", "planned")
    emit(
        payload,
        machine,
        table(f"{experiment.name}, {snapshot.n_members:,} members", header, rows),
        facts("", {"sample-ratio p-value": f"{p_value:.3g}", "written": "" if out is None else str(out)}),
    )


@app.command(
    epilog=examples(
        "decider experiment read logbook --experiment experiment.toml --config decider.toml",
        "decider experiment read logbook --experiment experiment.toml --history last-year.parquet --outcome plays",
        "decider experiment read feedback --experiment trial.toml --json",
        "Exit code 1: a sample ratio is wrong, a guardrail says stop, or early and late effects disagree in sign.",
    )
)
def read(
    source: Annotated[
        Path,
        typer.Argument(metavar="LOGBOOK|FEEDBACK", help="A logbook, or feedback whose arms are the cells."),
    ],
    file: Annotated[Path, typer.Option("--experiment", metavar="FILE", help="TOML file of the experiment.")],
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Look at what was before it.  [default: now]")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            help="Parquet or CSV table of past members: a column for each surrogate, and the outcome."
        ),
    ] = None,
    outcome: Annotated[str | None, typer.Option(help="Column of the slow outcome in the history.")] = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Read an experiment: as often as you like, every interval and p-value holds at every look."""
    experiment = load_experiment(file)
    index = _index(experiment, history, outcome)
    found = look(experiment, source, micros_of(moment("until", until)), configuration(config), machine, index)
    emit(payload_of(found), machine, *drawn(found))
    for warning in found.warnings:
        say(f"warning: {warning}", machine)
    if found.warnings:
        raise typer.Exit(CHECK_FAILED)


def look(
    experiment: Experiment,
    source: Path,
    until_micros: int,
    settings: Config,
    machine: bool,
    index: SurrogateIndex | None = None,
) -> ReadOut:
    """Read an experiment from a logbook, up to a time, or from feedback whose arms are the cells."""
    if (source / "manifest.json").is_file():
        outcomes = outcomes_of_feedback(experiment, Feedback.open(source))
    elif source.is_dir():
        with Logbook.open(source, read_only=True) as log:
            assigned = _assigned(experiment, settings, machine)
            outcomes = outcomes_of_log(experiment, log, until_micros, assigned)
    else:
        raise NotFound("source", "logbook or feedback", str(source))
    return read_out(experiment, outcomes, index)


def _cells(experiment: Experiment) -> list[dict[str, Any]]:
    policies = ("", *(cell.policy for cell in experiment.cell))
    return [
        {"cell": name, "policy": policy, "share": share}
        for name, policy, share in zip(experiment.cell_names, policies, experiment.shares, strict=True)
    ]


def _check_policies(experiment: Experiment, settings: Config) -> bool:
    """Whether there is a policies file; every cell must name one of its policies."""
    path = settings.path("policies")
    if not path.is_file():
        return False
    known = load_policies(path).policies
    wanted = {f"cell[{cell.name!r}].policy": cell.policy for cell in experiment.cell}
    if experiment.otherwise:
        wanted["otherwise"] = experiment.otherwise
    for field, name in wanted.items():
        if name not in known:
            raise UnknownName.of(field, f"must be one of {', '.join(sorted(known))}", name)
    if experiment.name in known:
        raise InvalidInput.of("name", "must not be a policy's name", experiment.name)
    return True


def _assigned(experiment: Experiment, settings: Config, machine: bool) -> Any:
    """Members by cell over the snapshot, where there is one."""
    path = settings.path("snapshot")
    if not path.is_dir():
        say("note: there is no snapshot, so who could have come is not known", machine)
        return None
    cells = experiment.assign(Snapshot.open(path).keys)
    return np.bincount(cells, minlength=len(experiment.cell_names)).astype(float)


def _index(experiment: Experiment, history: Path | None, outcome: str | None) -> SurrogateIndex | None:
    if (history is None) != (outcome is None):
        raise InvalidInput.of("outcome", "must be given exactly where --history is", outcome)
    if history is None or outcome is None:
        return None
    if experiment.long_term is None or not experiment.long_term.surrogates:
        raise InvalidInput.of("history", "needs long_term.surrogates in the experiment", str(history))
    if not history.is_file():
        raise NotFound("history", "table", str(history))
    frame = pl.read_csv(history) if history.suffix == ".csv" else pl.read_parquet(history)
    names = experiment.long_term.surrogates
    for name in (*names, outcome):
        if name not in frame.columns:
            raise UnknownName.of("history", f"must have a column of this name, has {frame.columns}", name)
        if frame[name].null_count() or not frame[name].dtype.is_numeric():
            raise InvalidInput.of(f"history.{name}", "must be a number in every row", str(frame[name].dtype))
    numbers = frame.select(pl.col(*names, outcome).cast(pl.Float64))
    surrogates = np.stack([numbers[name].to_numpy() for name in names])
    return fit_surrogates(tuple(names), surrogates, numbers[outcome].to_numpy())
