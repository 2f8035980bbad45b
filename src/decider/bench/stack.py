"""The real service as a process, and an empty echo as another: ``python -m decider.bench.stack``.

The echo is a bare method on the same kind of server: it takes as many bytes as Decide and answers as many, and
nothing of ours is in between.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import grpc

from decider.bench.house import FIRST_ID, POLICY
from decider.clock import SystemClock
from decider.config import load_config
from decider.decision.request import MemberRequest
from decider.service.answers import time_message
from decider.service.heap import settle_heap
from decider.service.logs import configure_logs
from decider.service.loop import run
from decider.service.serialised import decide_response
from decider.service.start import open_service
from decider.v1 import decision_service_pb2

DECIDE = "/decider.v1.DecisionService/Decide"
ECHO = "/bench.Echo/Echo"


def request_bytes(name: str, member: int, time_micros: int, *, dry_run: bool = False) -> bytes:
    """One request of Decide."""
    request = decision_service_pb2.DecideRequest(
        request_id=name, decision_time=time_message(time_micros), policy=POLICY, dry_run=dry_run
    )
    request.member_id.number = FIRST_ID + member
    raw: bytes = request.SerializeToString()
    return raw


async def start_echo(answer: bytes, port: int = 0) -> tuple[grpc.aio.Server, int]:
    """A server with one empty method, and its port, which it shares with others that are told the same."""

    async def echo(_request: bytes, _context: Any) -> bytes:
        return answer

    server = grpc.aio.server(maximum_concurrent_rpcs=1024)
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


def serve(config: str, n_members: str, n_fronts: str) -> None:
    """Serve until standard input closes; prints the port, and how long answers are."""
    configure_logs(as_json=True)
    composition, server = open_service(load_config(Path(config)), n_fronts=int(n_fronts))
    now = SystemClock().now_micros()
    sizes = []
    for place in range(200):
        request = MemberRequest(
            member_id=FIRST_ID + place * 17 % int(n_members), request_id=f"sample-{place}", policy=POLICY,
            decision_time_micros=now, dry_run=True,
        )  # fmt: skip
        sizes.append(len(decide_response(composition.engine.decide(request), dry_run=False)))
    settle_heap()
    server.start()
    _say(port=server.port, n_bytes=int(statistics.median(sizes)))
    server.stop()
    composition.close()


def echo(n_bytes: str, port: str) -> None:
    """Echo until standard input closes; prints the port."""
    server, at = run(start_echo(bytes(int(n_bytes)), int(port)))
    _say(port=at)
    run(server.stop(0.0))


def _say(**facts: int) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1] == "serve" else echo(*sys.argv[2:])
