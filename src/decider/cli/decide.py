"""`decider decide`: for all members of the snapshot at once, or for one."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from decider.cli.bulk import Asked, decide_here, decide_there
from decider.cli.decisions import drawn_decision, drawn_run, drawn_trace
from decider.cli.one import OneAsked, decide_one_here, decide_one_there
from decider.cli.options import ConfigPath, ServerAddress, examples, moment
from decider.cli.output import Machine, emit, facts, say
from decider.cli.results import ResultFile
from decider.errors import InvalidInput

EXAMPLES = examples(
    "decider decide --volume 30% --out results.parquet",
    "decider decide --budget email=40% --budget sms=2000 --out results.parquet",
    "decider decide --budget push=50000 --cost-budget sms=1200.50 --request-id tuesday",
    "decider decide --cost-budget 5000 --dry-run",
    "decider decide --policy thompson --price 0.02 --channels email,push --dry-run",
    "decider decide --resume --request-id monday --out results.parquet",
    "decider decide --server 127.0.0.1:50051 --volume 19200 --request-id monday --out results.parquet",
    "decider decide --member 4711 --trace",
)


def decide(
    config: ConfigPath = None,
    server: ServerAddress = None,
    request_id: Annotated[
        str | None,
        typer.Option(help="Names the request: the same one is never decided twice.  [default: a new one]"),
    ] = None,
    policy: Annotated[str, typer.Option(help="How to decide.  [default: the file's default policy]")] = "",
    volume: Annotated[
        str | None, typer.Option(metavar="N|P%", help="At most so many sends, or sends per 100 members.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="Reward per unit of cost that a message must be worth.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANNEL=N|P%",
            help="At most so many messages on a channel, or messages per 100 members. For several channels, give it "
            "once for each: each gets a price of its own. What is drawn at random counts too.",
        ),
    ] = None,
    cost_budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CHANNEL=]COST",
            help="At most so much cost on a channel, in the catalog's unit, or in all.",
        ),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="RFC3339", help="When the messages go out.  [default: now]")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="Decision window.  [default: the one that holds the time]")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Only these channels.  [default: all]")
    ] = None,
    defer_propensities: Annotated[
        bool, typer.Option("--defer-propensities", help="Leave them to be recomputed from the log.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file of the decisions, a row a member.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file of --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide, but log nothing.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run of --request-id where its log ends.")
    ] = False,
    member: Annotated[str | None, typer.Option(metavar="ID", help="Decide for this member only.")] = None,
    id_type: Annotated[
        str,
        typer.Option(
            help="With --server and --member: auto (a number if it looks like one), int64 or string."
        ),
    ] = "auto",
    trace: Annotated[
        bool, typer.Option("--trace", help="With --member: every candidate, or why not.")
    ] = False,
    machine: Machine = False,
) -> None:
    """Decide what to send to whom, and log it durably before it is told.

    A run that breaks off loses nothing: what it decided is in the log, and --resume goes on from there.
    """
    if resume and (request_id is None or dry_run or member is not None):
        raise InvalidInput.of(
            "resume", "must come with --request-id, and not with --dry-run or --member", resume
        )
    if trace and member is None:
        raise InvalidInput.of("trace", "must come with --member", trace)
    name = str(uuid.uuid4()) if request_id is None else request_id
    only = None if channels is None else tuple(part.strip() for part in channels.split(","))
    if member is not None:
        _refuse_for_one(
            volume=volume,
            price=price,
            budget=budget,
            cost_budget=cost_budget,
            out=out,
            defer_propensities=defer_propensities or None,
            replace=replace or None,
        )
        one = OneAsked(member, id_type, name, moment("time", time), policy, epoch, only, dry_run, trace)
        decision = decide_one_here(config, one) if server is None else decide_one_there(server, one)
        drawn = drawn_decision(decision)
        emit(
            {"request_id": name, "dry_run": dry_run, **decision},
            machine,
            facts("Request", {"request_id": name, "dry_run": dry_run}),
            *drawn,
            *([drawn_trace(decision["trace"])] if trace else []),
        )
        return
    asked = Asked(
        request_id=name,
        policy=policy,
        volume=volume,
        price=price,
        budgets=tuple(budget or ()),
        cost_budgets=tuple(cost_budget or ()),
        time=time,
        epoch=epoch,
        channels=only,
        defer_propensities=defer_propensities,
        dry_run=dry_run,
        resume=resume,
    )
    if request_id is None and not dry_run:
        say(f"request id {name}", machine)
    with ResultFile(out, replace=replace) as results:
        run = (
            decide_here(config, asked, results, machine)
            if server is None
            else decide_there(server, asked, results, machine)
        )
    payload = {"request_id": name, "dry_run": dry_run, "out": None if out is None else str(out), **run}
    emit(
        payload,
        machine,
        facts(
            "Request",
            {key: payload[key] for key in ("request_id", "policy", "decision_time", "dry_run", "out")},
        ),
        *drawn_run(payload),
    )


def _refuse_for_one(**given: object) -> None:
    for field, value in given.items():
        if value is not None:
            raise InvalidInput.of(
                field.replace("_", "-"), "must not be given together with --member", str(value)
            )
