"""A run over the whole snapshot, in process or by a server, with its results on the way to a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from decider.cli.budgets import budgets_of, volume_of
from decider.cli.options import configuration, micros_of, moment, rfc3339
from decider.cli.output import progress, say
from decider.cli.plain import plain
from decider.cli.results import ResultFile
from decider.decision.check import digest_of
from decider.decision.request import Budget, RunRequest
from decider.decision.result_table import ResultTables
from decider.decision.run import Run
from decider.errors import InvalidInput
from decider.logbook.schema import RunRecord
from decider.service.answers import summary_message
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.compose import Composition, compose

_OF_THE_RUN = (
    "policy",
    "volume",
    "price",
    "budgets",
    "cost_budgets",
    "time",
    "epoch",
    "channels",
    "defer_propensities",
)
"""Options that say what a run is, as against where its answers go."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked on the command line; volume, budgets and time still as text."""

    request_id: str
    policy: str
    volume: str | None
    price: float | None
    budgets: tuple[str, ...]
    cost_budgets: tuple[str, ...]
    time: str | None
    epoch: int | None
    channels: tuple[str, ...] | None
    defer_propensities: bool
    dry_run: bool
    resume: bool


def decide_here(config: Path | None, asked: Asked, results: ResultFile, machine: bool) -> dict[str, Any]:
    """Run in process; the logbook must not be in use by a server.

    Returns
    -------
    The summary and the versions it was made from, by name.
    """
    with compose(configuration(config)) as composition:
        request = _request(asked, composition)
        run = composition.engine.start_run(request, whole_snapshot=True)
        tables = ResultTables(run.record.candidates, run.run_id)
        with progress(machine) as advance, _promise(asked, run):
            advance(*run.progress())
            for chunk in run.finish():
                results.write(tables.frame(chunk))
                advance(*run.progress())
        record: RunRecord = run.record
        return {
            **plain(summary_message(run.summary).summary),
            "policy": record.policy,
            "decision_time": rfc3339(record.decision_time_micros),
            "epoch": record.epoch,
            "policy_version": record.policy_version,
            "model_version": record.model_version,
            "snapshot_version": record.snapshot_version,
            "catalog_version": record.catalog_version,
        }


def decide_there(server: str, asked: Asked, results: ResultFile, machine: bool) -> dict[str, Any]:
    """Let a server run; see :func:`decide_here`."""
    if asked.resume and asked.time is None:
        rule = "must be that of the run with --resume and --server: only the server's log knows it"
        raise InvalidInput.of("time", rule, None)
    time = moment("time", asked.time)
    options = BatchOptions(
        request_id=asked.request_id,
        decision_time=time,
        policy=asked.policy,
        epoch=asked.epoch,
        channels=asked.channels,
        volume=None if asked.volume is None else volume_of(asked.volume, None),
        price=asked.price,
        budgets=budgets_of(asked.budgets, asked.cost_budgets, None),
        defer_propensities=asked.defer_propensities,
        dry_run=asked.dry_run,
    )
    with DeciderClient(server) as client, progress(machine) as advance:
        answers = client.batch_decide(None, options)
        try:
            for table in answers:
                results.write(table)
                if answers.progress is not None:
                    said = plain(answers.progress)
                    advance(said["phase"], said["done_count"], said["total_count"])
        except KeyboardInterrupt:
            answers.cancel()
            more = f"--resume --request-id {asked.request_id} --time {time.isoformat()}"
            say(f"what is decided is durable; go on with the same options and {more}")
            raise
    assert answers.summary is not None
    assert answers.started is not None
    started = plain(answers.started)
    for name in ("candidates", "price", "budgets"):
        del started[name]
    return plain(answers.summary) | started | {"decision_time": time.isoformat().replace("+00:00", "Z")}


def _request(asked: Asked, composition: Composition) -> RunRequest:
    """The run that was asked for; with --resume the one that the log holds."""
    if asked.resume:
        given = [name for name in _OF_THE_RUN if getattr(asked, name)]
        if given:
            rule = "must stand alone with --request-id: the log knows the rest of the run"
            raise InvalidInput.of("resume", rule, given)
        return _logged_request(composition.log.run(request_id=asked.request_id))
    n_members = composition.engine.parts.snapshot.n_members
    return RunRequest(
        request_id=asked.request_id,
        decision_time_micros=micros_of(moment("time", asked.time)),
        policy=asked.policy,
        epoch=asked.epoch,
        channels=asked.channels,
        volume=None if asked.volume is None else volume_of(asked.volume, n_members),
        price=asked.price,
        budgets=budgets_of(asked.budgets, asked.cost_budgets, n_members),
        defer_propensities=asked.defer_propensities,
        dry_run=asked.dry_run,
    )


def _logged_request(logged: RunRecord) -> RunRequest:
    """Find the request of a logged run: the log holds what it came to, and the digest of how it was said."""
    volume, price = logged.request.get("volume"), logged.request.get("price")
    assert not isinstance(volume, (str, float))
    assert not isinstance(price, str)
    budgets = tuple(
        Budget(channel=budget.channel, messages=int(budget.amount))
        if budget.unit == "messages"
        else Budget(channel=budget.channel, cost=budget.amount)
        for budget in logged.budgets
    )
    said = product(("", logged.policy), (None, logged.epoch), (False, True))
    for policy, epoch, deferred in said:
        request = RunRequest(
            request_id=logged.request_id,
            decision_time_micros=logged.decision_time_micros,
            policy=policy,
            epoch=epoch,
            channels=None if logged.channels is None else tuple(logged.channels),
            volume=volume,
            price=price,
            budgets=budgets,
            defer_propensities=deferred,
        )
        if digest_of(request, whole_snapshot=True) == logged.request_digest:
            return request
    rule = "must name a run over the whole snapshot"
    raise InvalidInput.of("request_id", rule, logged.request_id)


@contextmanager
def _promise(asked: Asked, run: Run) -> Iterator[None]:
    """Say on interruption that nothing is lost, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        stage, n_done, n_total = run.progress()
        run.close()
        if not asked.dry_run:
            if stage == "pricing":
                say("stopped while the price was being found: nothing is decided yet")
            else:
                say(f"stopped after {n_done:,} of {n_total or 0:,} members; what is decided is durable")
            say(f"go on with: decider decide --resume --request-id {asked.request_id}")
        raise
