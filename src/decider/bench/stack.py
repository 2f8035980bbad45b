"""The real service as a process, and an empty echo as another: ``python -m decider.bench.stack``.

The echo is a bare method on the same kind of server: it takes as many bytes as Decide and answers as many, and
nothing of ours is in between. Its other method, the forced echo, answers when a page a call is on the disk: the least
that an answer takes which must not be lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from decider.bench.house import FIRST_ID, POLICY
from decider.clock import SystemClock
from decider.config import load_config
from decider.decision.request import MemberRequest
from decider.service.answers import time_message
from decider.service.heap import made_to_stay
from decider.service.logs import configure_logs
from decider.service.loop import run
from decider.service.serialised import decide_response
from decider.service.start import open_service
from decider.service.waiting import MAX_TOGETHER, WaitingDecides
from decider.v1 import decision_service_pb2

DECIDE = "/decider.v1.DecisionService/Decide"
ECHO = "/bench.Echo/Echo"
FORCED_ECHO = "/bench.Echo/ForcedEcho"
_PAGE = 4_096
_FILE_PAGES = 16 * MAX_TOGETHER


def request_bytes(name: str, member: int, time_micros: int, *, dry_run: bool = False) -> bytes:
    """One request of Decide."""
    request = decision_service_pb2.DecideRequest(
        request_id=name, decision_time=time_message(time_micros), policy=POLICY, dry_run=dry_run
    )
    request.member_id.number = FIRST_ID + member
    raw: bytes = request.SerializeToString()
    return raw


class Forced:
    """Forces a page to the disk for every call, for those that wait all at once, as decisions are committed.

    Its file is as long as it gets from the start and written over, which costs a disk least.

    Parameters
    ----------
    directory
        Where the file is to be.
    answer
        Of every call.
    """

    def __init__(self, directory: Path, answer: bytes) -> None:
        self._file = os.open(directory / f"forced-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
        self._answer, self._at = answer, 0
        os.pwrite(self._file, bytes(_FILE_PAGES * _PAGE), 0)
        os.fsync(self._file)

    def echo(self, requests: Sequence[bytes]) -> list[bytes]:
        """The answers of a group, once its pages are on the disk."""
        pages = b"".join(request.ljust(_PAGE, b"\0") for request in requests)
        if self._at + len(pages) > _FILE_PAGES * _PAGE:
            self._at = 0
        os.pwrite(self._file, pages, self._at)
        os.fdatasync(self._file)
        self._at += len(pages)
        return [self._answer] * len(requests)


async def start_echo(
    answer: bytes, port: int = 0, directory: Path | None = None
) -> tuple[grpc.aio.Server, int]:
    """A server with an empty method, and its port, which it shares with others that are told the same.

    With a directory it has the forced echo too.
    """

    async def echo(request: bytes, _context: Any) -> bytes:
        return answer

    server = grpc.aio.server(maximum_concurrent_rpcs=1024)
    behaviours = {"Echo": echo}
    if directory is not None:
        waiting = WaitingDecides(Forced(directory, answer).echo, asyncio.get_running_loop())

        async def forced_echo(request: bytes, _context: Any) -> bytes:
            return await waiting.decide(request)

        behaviours["ForcedEcho"] = forced_echo
    handlers = {name: grpc.unary_unary_rpc_method_handler(each) for name, each in behaviours.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


def serve(config: str, n_members: str, n_fronts: str) -> None:
    """Serve until standard input closes; prints the port, and how long answers are."""
    configure_logs(as_json=True)
    with made_to_stay():
        composition, server = open_service(load_config(Path(config)), n_fronts=int(n_fronts))
    now = SystemClock().now_micros()
    sizes = []
    for place in range(200):
        request = MemberRequest(
            member_id=FIRST_ID + place * 17 % int(n_members), request_id=f"sample-{place}", policy=POLICY,
            decision_time_micros=now, dry_run=True,
        )  # fmt: skip
        sizes.append(len(decide_response(composition.engine.decide(request), dry_run=False)))
    server.start()
    _say(port=server.port, n_bytes=int(statistics.median(sizes)))
    server.stop()
    composition.close()


def echo(n_bytes: str, port: str, directory: str) -> None:
    """Echo until standard input closes; prints the port."""
    server, at = run(start_echo(bytes(int(n_bytes)), int(port), Path(directory)))
    _say(port=at)
    run(server.stop(0.0))


def _say(**facts: int) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1] == "serve" else echo(*sys.argv[2:])
