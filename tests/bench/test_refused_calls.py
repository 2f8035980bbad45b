"""Calls that a server refuses: counted while they are few, and the end of the measurement where they are many."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from decider.bench.decide import Generator
from decider.bench.load import write_requests
from decider.bench.stack import DECIDE
from decider.errors import Unavailable

N_REQUESTS = 20_000


@contextmanager
def serving(is_refused: Callable[[int], bool]) -> Iterator[tuple[int, set[bytes]]]:
    """A server that refuses some calls, by their number; its port, and the requests that it has seen."""
    count, seen = itertools.count(), set()

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.add(request)
        if is_refused(next(count)):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "over the limit")
        return b"decided"

    service, method = DECIDE.strip("/").split("/")
    handler = grpc.method_handlers_generic_handler(
        service, {method: grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, seen
    finally:
        server.stop(None).wait()


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests"
    write_requests(path, [b"request %d" % n for n in range(N_REQUESTS)])
    return path


def test_few_are_counted_and_no_request_comes_twice(requests: Path) -> None:
    with serving(lambda number: number % 150 == 149) as (port, seen):
        generator = Generator({DECIDE: port}, requests)
        loads = [generator.run(DECIDE, 0.6, "open", 400.0) for _ in range(2)]
        refused, calls = generator.n_refused[DECIDE], generator.n_calls[DECIDE]
        assert sum(load["n"] for load in loads) == calls - refused
        assert sum(load["n_failed"] for load in loads) == refused > 0
        assert calls == len(seen)


@pytest.mark.parametrize(("every", "kind"), [(20, "closed"), (20, "open"), (1, "open")])
def test_many_are_no_measurement(requests: Path, every: int, kind: str) -> None:
    with serving(lambda number: number % every == 0) as (port, _):
        generator = Generator({DECIDE: port}, requests)
        with pytest.raises(
            Unavailable, match=r"calls of /decider\.v1\..*/Decide were refused, and at most 1% may be"
        ):
            generator.run(DECIDE, 0.3, kind, 300.0 if kind == "open" else 8)
        assert generator.n_calls[DECIDE] == 0


def test_a_load_that_breaks_off_says_why(requests: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unavailable, match=r"broke off: ConnectionRefusedError"):
        Generator({DECIDE: port}, requests).run(DECIDE, 0.1, "closed", 8)
