"""The real engine, log, catalog, snapshot and models behind the real server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest

from decider.config import load_config
from decider.decision.request import Budget
from decider.errors import Conflict, DeciderError, InvalidInput, NotFound
from decider.logbook import Logbook
from decider.logbook.schema import EventRecord, EventType
from decider.members import build_snapshot
from decider.models import Registry, save_model
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.compose import Composition, compose
from decider.service.server import build_server
from decider.service.settings import ServiceSettings
from decider.service.start import warm_up
from decider.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc, run_pb2
from tests.decision.world import CATALOG, POLICIES, SPEC, TIME, members_frame, model

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 9, 21, tzinfo=UTC) + timedelta(
    microseconds=TIME - int(datetime(2026, 9, 21, tzinfo=UTC).timestamp()) * 1_000_000
)
N_MEMBERS = 3_000
MESSAGES = ("picks", "season", "arrival")


def write_world(directory: Path, *, text_ids: bool = False) -> Path:
    """Everything that a service needs, as files; returns its configuration."""
    table = directory / "members.parquet"
    members_frame(N_MEMBERS, text_ids).write_parquet(table)
    build_snapshot(table, SPEC, directory / "snapshot")
    (directory / "catalog.toml").write_text(CATALOG)
    (directory / "policies.toml").write_text(POLICIES)
    Registry(directory / "models").publish(model())
    config = directory / "decider.toml"
    config.write_text('listen = "127.0.0.1:0"\nthreads = 2\n')
    return config


@dataclass(frozen=True)
class Service:
    """A server in this process, and a client of it."""

    composition: Composition
    client: DeciderClient
    ids: list[Any]
    port: int


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "texts"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = write_world(tmp_path_factory.mktemp("world"), text_ids=request.param)
    with compose(load_config(config)) as composition:
        settings = ServiceSettings(listen="127.0.0.1:0")
        server = build_server(composition.engine, composition.registry, settings)
        server.start()
        with DeciderClient(f"127.0.0.1:{server.port}", timeout_seconds=60.0) as client:
            ids = members_frame(N_MEMBERS, request.param)["member_id"].to_list()
            yield Service(composition, client, ids, server.port)
        server.stop(0)


def options(request_id: str, **changes: Any) -> BatchOptions:
    return BatchOptions(request_id=request_id, decision_time=AT, **changes)


def test_one_at_a_time_and_in_a_batch_are_the_same_decision(service: Service) -> None:
    # Dry runs: no decision changes what the next one sees.
    table = pl.concat(list(service.client.batch_decide(service.ids, options("batch", dry_run=True))))
    assert table["member_id"].to_list() == service.ids
    for place in range(0, N_MEMBERS, 15):
        row = table.row(place, named=True)
        one = service.client.decide(
            service.ids[place], request_id=f"one-{place}", decision_time=AT, dry_run=True
        )
        assert [message.candidate for message in one.messages] == row["candidates"]
        assert [np.float32(m.expected_incrementality) for m in one.messages] == row["expected_incrementality"]
        gains = np.array([m.marginal_gain for m in one.messages], np.float32)
        np.testing.assert_array_equal(gains, np.array(row["marginal_gain"], np.float32))
        assert decision_pb2.Stratum.Name(one.stratum) == f"STRATUM_{row['stratum'].upper()}"
        assert one.propensity == row["propensity"]


def test_a_volume_is_met_and_its_decisions_are_in_the_log(service: Service) -> None:
    budget = 700
    answers = service.client.batch_decide(service.ids, options("volume", volume=budget))
    table = pl.concat(list(answers))
    summary = answers.summary
    assert summary is not None
    sends = table["candidates"].list.len()
    assert sends.sum() == summary.volume
    assert abs(summary.volume - budget) <= 1
    assert summary.member_count == N_MEMBERS
    assert summary.price == answers.price
    assert {c.name: c.count for c in summary.per_stratum} == dict(
        table["stratum"].cast(str).value_counts().rows()
    )
    logged = service.composition.log.get_decision(table["decision_id"][int(sends.arg_max() or 0)])
    assert [entry.candidate for entry in logged.messages] == table["candidates"][
        int(sends.arg_max() or 0)
    ].to_list()
    again = service.client.batch_decide(service.ids, options("volume", volume=budget))
    assert pl.concat(list(again)).equals(table)


def test_budgets_are_kept_and_certified(service: Service) -> None:
    given = [Budget(channel="push", cost=300.0), Budget(channel="email", messages=350)]
    asked = options("budgets", budgets=given, defer_propensities=True, dry_run=True)
    answers = service.client.batch_decide(service.ids, asked)
    table = pl.concat(list(answers))
    summary = answers.summary
    assert summary is not None
    sent = table["candidates"].explode().drop_nulls().str.split("@").list.last()
    email, push = summary.budgets
    assert (email.budget.channel, email.budget.messages) == ("email", 350)
    assert (push.budget.channel, push.budget.cost) == ("push", 300.0)
    # Every message of this catalog costs 1.
    for priced, n_most in ((email, 350), (push, 300)):
        n_sent = (sent == priced.budget.channel).sum()
        assert priced.spent == n_sent
        assert 0.9 * n_most <= n_sent <= n_most
        assert priced.price > 0
    assert [(each.budget, each.price) for each in answers.budgets] == [
        (each.budget, each.price) for each in summary.budgets
    ]
    assert answers.gap == summary.gap
    assert 0.0 <= summary.gap <= 0.02
    unknown = service.client.batch_decide(
        service.ids, options("fax", budgets=[Budget(channel="fax", messages=1)])
    )
    with pytest.raises(InvalidInput, match="must be one of email, push, got 'fax'"):
        unknown.finish()


def test_a_decision_of_a_run_with_budgets_is_explained(service: Service) -> None:
    # These members are this test's own: what they are sent, no other test may see.
    wanted = options("explained", budgets=[Budget(channel="push", messages=2)], policy="greedy")
    answers = service.client.batch_decide(service.ids[-40:], wanted)
    table = pl.concat(list(answers))
    again = service.client.batch_decide(service.ids[-40:], wanted)
    assert pl.concat(list(again)).equals(table)
    assert again.started is not None
    assert [each.price for each in again.started.budgets] == [each.price for each in answers.budgets]
    for decision_id in table["decision_id"][:10]:
        explanation = service.client.explain(decision_id)
        assert explanation.reproduced
        assert [each.price for each in explanation.decision.budgets] == [
            each.price for each in answers.budgets
        ]


def test_a_batch_under_a_known_request_id_with_another_body_is_refused(service: Service) -> None:
    service.client.batch_decide(service.ids[:50], options("other body", price=0.1)).finish()
    with pytest.raises(Conflict):
        service.client.batch_decide(service.ids[:50], options("other body", price=0.2)).finish()


def test_decisions_can_be_explained(service: Service) -> None:
    one = service.client.decide(service.ids[1], request_id="explain", decision_time=AT)
    table = pl.concat(list(service.client.batch_decide(service.ids[10:60], options("explain run"))))
    for decision_id in (one.decision_id, *table["decision_id"].to_list()[::7]):
        explanation = service.client.explain(decision_id)
        assert explanation.decision.decision_id == decision_id
        assert explanation.reproduced
        assert explanation.binding_cap != decision_pb2.BINDING_CAP_UNSPECIFIED
        assert len(explanation.trace) == 8
    with pytest.raises(NotFound, match="decision"):
        service.client.explain("0" * 24 + "-0")


def test_opting_out_silences_the_channel_from_the_next_decision_on(service: Service) -> None:
    member = service.ids[2]

    def reasons(request_id: str) -> set[int]:
        decision = service.client.decide(member, request_id=request_id, decision_time=AT, trace=True)
        return {entry.eligibility for entry in decision.trace if entry.candidate == "picks@push"}

    before = reasons("before")
    event = EventRecord(
        event_id="out", type=EventType.UNSUBSCRIBED, event_time_micros=TIME, member_id=member,
        candidate="picks@push",
    )  # fmt: skip
    assert service.client.record_events([event]).new_count == 1
    assert service.client.record_events([event]).duplicate_count == 1
    assert before != {decision_pb2.ELIGIBILITY_CONSENT}
    assert reasons("after") == {decision_pb2.ELIGIBILITY_CONSENT}


def test_rows_and_columns_say_the_same(service: Service) -> None:
    table = pl.concat(list(service.client.batch_decide(service.ids[:100], options("columns", dry_run=True))))
    request = decision_service_pb2.BatchDecideRequest
    header = request(
        header=decision_service_pb2.BatchHeader(
            request_id="rows", dry_run=True, result_format=run_pb2.RESULT_FORMAT_ROWS
        )
    )
    header.header.decision_time.FromMicroseconds(TIME)
    members = request()
    for member_id in service.ids[:100]:
        members.rows.member_ids.add(**{"text" if isinstance(member_id, str) else "number": member_id})
    end = request(end=decision_service_pb2.BatchEnd(member_count=100))
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        answers = list(stub.BatchDecide(iter([header, members, end])))
    decisions = [decision for answer in answers for decision in answer.rows.decisions]
    kind = "text" if isinstance(service.ids[0], str) else "number"
    assert [getattr(d.member_id, kind) for d in decisions] == table["member_id"].to_list()
    assert [[m.candidate for m in d.messages] for d in decisions] == table["candidates"].to_list()
    propensities = [d.propensity if d.HasField("propensity") else None for d in decisions]
    assert propensities == table["propensity"].to_list()


BAD = [
    ("unknown member", {"member_id": "nobody"}, DeciderError, "member_id"),
    ("unknown policy", {"policy": "wild"}, InvalidInput, "policy"),
    ("unknown channel", {"channels": ["pigeon"]}, InvalidInput, "pigeon"),
    ("unknown column", {"context": {"colour": 1.0}}, InvalidInput, "colour"),
    ("a NaN feature", {"context": {"plays": float("nan")}}, InvalidInput, "nan"),
    ("a feature of another type", {"context": {"watched_1": "yes"}}, InvalidInput, "watched_1"),
    ("an unknown candidate", {"pair_features": {"fax@email": {"a": 1.0}}}, InvalidInput, "fax@email"),
    (
        "a pair feature that the model lacks",
        {"pair_features": {"picks@email": {"a": 1.0}}},
        InvalidInput,
        "a",
    ),
    (
        "a time outside every window",
        {"decision_time": datetime(1999, 1, 1, tzinfo=UTC)},
        InvalidInput,
        "time",
    ),
]


@pytest.mark.parametrize(("changes", "kind", "text"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_refused_by_name_and_leaves_nothing(
    service: Service, changes: dict[str, Any], kind: type[DeciderError], text: str
) -> None:
    before = service.composition.log.last_sequence
    fields = {"member_id": service.ids[0], "request_id": "bad", "decision_time": AT} | changes
    with pytest.raises(kind, match=text) as caught:
        service.client.decide(fields.pop("member_id"), **fields)
    assert type(caught.value) is not DeciderError, "INTERNAL must not come of bad input"
    assert service.composition.log.last_sequence == before


def test_unknown_and_repeated_members_end_a_batch_by_name(service: Service) -> None:
    stranger: Any = "nobody" if isinstance(service.ids[0], str) else -5
    for ids, text in (
        ([*service.ids[:3], stranger], r"\[3\]"),
        ([service.ids[0], service.ids[1], service.ids[0]], r"\[2\]"),
    ):
        with pytest.raises(InvalidInput, match=text):
            service.client.batch_decide(ids, options("strangers")).finish()


def test_a_published_model_decides_from_the_next_call_on(service: Service, tmp_path: Path) -> None:
    old = model()
    n_features = old.mean.shape[1]
    new = replace(
        old,
        pair_features=("affinity",),
        mean=np.pad(old.mean, ((0, 0), (0, 1)), constant_values=1.0),
        covariance=np.stack([np.eye(n_features + 1) * 1e-6] * len(old.mean)),
    )
    save_model(new, tmp_path / "artifact")
    published = service.client.publish_model(tmp_path / "artifact")
    try:
        assert published.current
        assert published.serving
        ask = {"decision_time": AT, "policy": "greedy", "dry_run": True}
        with pytest.raises(InvalidInput, match=r"picks@email.*affinity"):
            service.client.decide(service.ids[0], request_id="no pair features", **ask)
        pairs = {f"{name}@{channel}": {"affinity": 1.0} for name in MESSAGES for channel in ("email", "push")}
        pairs["mystery@push"] = {"affinity": 1.0}
        decision = service.client.decide(service.ids[0], request_id="pair", pair_features=pairs, **ask)
        assert decision.model_version == published.version
        assert decision.messages[0].expected_incrementality > 0.5
    finally:
        back = service.client.roll_back_model("uplift", expected_version=published.version)
    assert back.version == old.version
    assert service.client.decide(service.ids[0], request_id="back", **ask).model_version == old.version


def test_warming_up_leaves_no_trace(service: Service) -> None:
    before = service.composition.log.last_sequence
    warm_up(service.composition.engine)
    assert service.composition.log.last_sequence == before


class Process:
    """`python server.py` on a configuration."""

    def __init__(self, config: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, str(ROOT / "server.py"), "--config", str(config), "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{") and (told := json.loads(line))["event"] == "serving":
                self.port = int(told["port"])
                break
        else:
            pytest.fail("the server ended before it served")
        # Nobody else reads the log: it must not fill the pipe.
        self._drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._drain.start()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(30)
        self._drain.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status


def test_a_configuration_that_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    config = write_world(tmp_path)
    (tmp_path / "catalog.toml").write_text(CATALOG.replace("watched_1 AND", "watched_9 AND"))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "server.py"), "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    assert "watched_9" in done.stderr
    assert "Traceback" not in done.stderr


N_CALLERS = 8
N_KILLS = 20


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Eight callers, twenty kills: every answer is in the log, retries return it, nothing is double."""
    config = write_world(tmp_path)
    ids = members_frame(N_MEMBERS)["member_id"].to_list()
    rng = np.random.default_rng(0)
    decisions: dict[str, tuple[int, decision_pb2.Decision]] = {}
    events: dict[str, EventRecord] = {}

    def call(turn: int, caller: int, client: DeciderClient) -> None:
        n = 0
        with contextlib.suppress(DeciderError):
            while True:
                name = f"{turn}-{caller}-{n}"
                member = ids[(turn * 131 + caller * 17 + n) % N_MEMBERS]
                decisions[name] = member, client.decide(member, request_id=name, decision_time=AT)
                event = EventRecord(
                    event_id=name, type=EventType.DELIVERED, event_time_micros=TIME + n,
                    decision_id=decisions[name][1].decision_id,
                )  # fmt: skip
                client.record_events([event])
                events[name] = event
                n += 1

    for turn in range(N_KILLS):
        server = Process(config)
        # Without retries a call that the kill cuts off ends at once.
        clients = [DeciderClient(f"127.0.0.1:{server.port}", retries=False) for _ in range(N_CALLERS)]
        callers = [
            threading.Thread(target=call, args=(turn, place, client)) for place, client in enumerate(clients)
        ]
        for caller in callers:
            caller.start()
        time.sleep(float(rng.uniform(0.05, 0.8)))
        server.end(signal.SIGKILL)
        for caller in callers:
            caller.join()
        for client in clients:
            client.close()

    assert len(decisions) > N_KILLS
    server = Process(config)
    with DeciderClient(f"127.0.0.1:{server.port}") as client:
        for name, (member, decision) in list(decisions.items())[::7]:
            again = client.decide(member, request_id=name, decision_time=AT)
            assert again.already_decided
            again.already_decided = decision.already_decided
            assert again == decision
        names = list(events)
        for start in range(0, len(names), 1_000):
            batch = [events[name] for name in names[start : start + 1_000]]
            assert client.record_events(batch).new_count == 0
    assert server.end(signal.SIGTERM) == 0
    with Logbook.open(tmp_path / "logbook") as log:
        for name, (_, decision) in decisions.items():
            record = log.find_request(name)
            assert record is not None
            assert record.decision_id == decision.decision_id
            assert [e.candidate for e in record.messages] == [m.candidate for m in decision.messages]
        logged = pl.concat(list(log.decision_frames()))
        assert logged["decision_id"].is_unique().all()
        assert logged.height >= len(decisions)
