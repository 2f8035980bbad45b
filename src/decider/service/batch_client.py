"""The client's side of a batch: what is asked, and the answers as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc
import polars as pl
from google.protobuf.timestamp_pb2 import Timestamp

from decider.decision.request import Budget
from decider.errors import InvalidInput
from decider.service.answers import time_message
from decider.service.columns import read_results, write_members
from decider.service.heap import keep_large_blocks
from decider.service.statuses import error_of
from decider.v1 import budget_pb2, decision_service_pb2, member_pb2, run_pb2

MEMBERS_PER_REQUEST = 65_536


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What a batch asks for; see BatchHeader in the protocol."""

    request_id: str
    decision_time: datetime
    policy: str = ""
    epoch: int | None = None
    channels: Sequence[str] | None = None
    volume: int | None = None
    price: float | None = None
    budgets: Sequence[Budget] = ()
    """Of single channels; not together with `volume` or `price`."""
    defer_propensities: bool = False
    dry_run: bool = False
    resume_token: str = ""
    summary_only: bool = False
    max_members_per_answer: int = 0


class BatchAnswers:
    """A batch under way: an iterator over tables; its fields fill while it is used up.

    Parameters
    ----------
    call
        The stream of answers.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        keep_large_blocks()
        self.started: run_pb2.RunStarted | None = None
        """What all decisions of the run have in common; before the first table."""
        self.progress: run_pb2.RunProgress | None = None
        """The last word on how far it is."""
        self.price: float | None = None
        """Once it is known."""
        self.budgets: Sequence[budget_pb2.PricedBudget] = ()
        """Those of the run with their prices, once they are known."""
        self.gap: float | None = None
        """What a choice within the budgets could be worth more at most, as a share: once their prices are known."""
        self.summary: run_pb2.RunSummary | None = None
        """After the last table."""
        self.resume_token = ""
        """After a broken stream, what to go on from."""

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Tables of consecutive members; see ResultColumns in the protocol."""
        try:
            for answer in self._call:
                match answer.WhichOneof("response"):
                    case "started":
                        self.started = answer.started
                        self.price = answer.started.price if answer.started.HasField("price") else None
                        self.budgets = answer.started.budgets
                    case "progress":
                        self.progress = answer.progress
                    case "priced":
                        self.price = answer.priced.price
                        self.budgets = answer.priced.budgets
                        self.gap = answer.priced.gap if answer.priced.HasField("gap") else None
                    case "columns":
                        yield read_results(answer.columns.arrow_ipc)
                        self.resume_token = answer.columns.resume_token or self.resume_token
                    case "summary":
                        self.summary = answer.summary
                        self.gap = answer.summary.gap if answer.summary.HasField("gap") else None
        except grpc.RpcError as error:
            raise error_of(error) from error

    def finish(self) -> run_pb2.RunSummary:
        """Read to the end, without the tables, and return the summary."""
        for _table in self:
            pass
        assert self.summary is not None
        return self.summary

    def cancel(self) -> None:
        """Break off; what is durable stays."""
        self._call.cancel()


def batch_requests(
    ids: pl.Series | None, options: BatchOptions
) -> Iterator[decision_service_pb2.BatchDecideRequest]:
    """What a batch sends: header, members, end; only the header for the whole snapshot."""
    header = decision_service_pb2.BatchHeader(
        request_id=options.request_id,
        decision_time=moment_message("decision_time", options.decision_time),
        policy=options.policy,
        epoch=options.epoch,
        channel_filter=channel_filter_message(options.channels),
        whole_snapshot=ids is None,
        result_format=(
            run_pb2.RESULT_FORMAT_SUMMARY_ONLY if options.summary_only else run_pb2.RESULT_FORMAT_ARROW
        ),
        defer_propensities=options.defer_propensities,
        dry_run=options.dry_run,
        resume_token=options.resume_token,
        max_members_per_answer=options.max_members_per_answer,
    )
    if options.volume is not None:
        header.volume = options.volume
    if options.price is not None:
        if options.volume is not None:
            raise InvalidInput.of("price", "must not be given together with volume", options.price)
        header.price = options.price
    if options.budgets:
        for name in ("volume", "price"):
            if getattr(options, name) is not None:
                raise InvalidInput.of(
                    "budgets", f"must not be given together with {name}", len(options.budgets)
                )
        header.budgets.CopyFrom(_budgets_message(options.budgets))

    def requests() -> Iterator[decision_service_pb2.BatchDecideRequest]:
        yield decision_service_pb2.BatchDecideRequest(header=header)
        if ids is None:
            return
        for start in range(0, len(ids), MEMBERS_PER_REQUEST):
            columns = member_pb2.MemberColumns(arrow_ipc=write_members(ids.slice(start, MEMBERS_PER_REQUEST)))
            yield decision_service_pb2.BatchDecideRequest(columns=columns)
        end = decision_service_pb2.BatchEnd(member_count=len(ids))
        yield decision_service_pb2.BatchDecideRequest(end=end)

    return requests()


def _budgets_message(budgets: Sequence[Budget]) -> budget_pb2.Budgets:
    message = budget_pb2.Budgets()
    for place, budget in enumerate(budgets):
        if (budget.messages is None) == (budget.cost is None):
            raise InvalidInput.of(f"budgets[{place}]", "must give either messages or cost", budget)
        message.budgets.add(channel=budget.channel, messages=budget.messages, cost=budget.cost)
    return message


def channel_filter_message(channels: Sequence[str] | None) -> decision_service_pb2.ChannelFilter | None:
    """The channels to keep to; none means all."""
    return None if channels is None else decision_service_pb2.ChannelFilter(channels=channels)


def moment_message(field: str, time: datetime) -> Timestamp:
    """A time that is sent in `field`; it must have a time zone."""
    if time.tzinfo is None:
        raise InvalidInput.of(field, "must have a time zone", time.isoformat())
    whole = time.replace(microsecond=0)
    return time_message(int(whole.timestamp()) * 1_000_000 + time.microsecond)
