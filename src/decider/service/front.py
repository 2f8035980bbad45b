"""A front process: takes calls on the port that it shares, and hands them to the engine process.

Decide goes over the link, where what waits is decided together; every other method is relayed byte for byte to
the engine's own server. A front knows no protocol but gRPC's and imports nothing that decides, so it starts in a
moment. Started by :mod:`decider.service.fronts`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import msgspec
from google.rpc import status_pb2
from grpc_status import rpc_status

from decider.errors import Overloaded, Unavailable
from decider.service.bridge import PEER, Bridge
from decider.service.heap import made_to_stay
from decider.service.link import Frames, call_frame
from decider.service.listening import bind
from decider.service.slots import Slots

DECIDE = "/decider.v1.DecisionService/Decide"
_GONE = "the engine process is gone"


class FrontSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a front is told when it is started."""

    listen: str
    link: str
    """Path of the Unix socket for Decide."""
    engine: str
    """Path of the Unix socket of the engine's gRPC server."""
    max_concurrent_rpcs: int
    max_message_bytes: int
    options: list[tuple[str, int]]
    grace_seconds: float


class Link(asyncio.Protocol):
    """The way to the engine for calls of Decide.

    Parameters
    ----------
    slots
        Each call holds one.
    """

    def __init__(self, slots: Slots) -> None:
        self.gone = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None
        self._slots, self._frames = slots, Frames()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._n_calls = 0

    def connection_made(self, transport: Any) -> None:
        """The engine has answered."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The engine is gone: nobody waits any longer, and the process ends."""
        self.gone.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Wake those whose answers have come."""
        for answer in self._frames.answers(data):
            future = self._waiting.pop(answer.number)
            if not future.done():
                future.set_result(answer)

    async def decide(self, request: bytes, context: Any) -> bytes:
        """The behaviour of Decide."""
        if self._transport is None or self.gone.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, _GONE)
        try:
            with self._slots.one():
                answer = await self._answer(request)
        except Overloaded as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        if answer is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _GONE)
        if answer.status:
            status = status_pb2.Status.FromString(answer.status)
            await context.abort_with_status(rpc_status.to_status(status))
        decided: bytes = answer.answer
        return decided

    def _answer(self, request: bytes) -> asyncio.Future[Any]:
        self._n_calls = number = self._n_calls + 1
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(call_frame(number, request))
        return future


class Relay(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves Decide over the link, and every other method by calling it at the engine.

    Parameters
    ----------
    link
        For Decide.
    channel
        To the engine's server.
    threads
        Relay; each call has one.
    slots
        Each call holds one.
    """

    def __init__(self, link: Link, channel: grpc.Channel, threads: ThreadPoolExecutor, slots: Slots) -> None:
        self._channel, self._threads, self._slots = channel, threads, slots
        self._handlers = {DECIDE: grpc.unary_unary_rpc_method_handler(link.decide)}

    def service(self, details: Any) -> Any:
        """The handler of a method, also of one that nobody knows: the engine says so then."""
        handler = self._handlers.get(details.method)
        if handler is None:
            handler = grpc.stream_stream_rpc_method_handler(self._relay(details.method))
        return handler

    def _relay(self, method: str) -> Any:
        # grpcio's own client for the event loop takes an answer that comes before all requests are sent for a
        # failure of its own; the one for threads does not.
        def pump(bridge: Bridge, seconds: float | None) -> None:
            call = self._channel.stream_stream(method)(
                _until_broken_off(bridge), timeout=seconds, metadata=((PEER, bridge.peer()),)
            )
            if not bridge.add_callback(call.cancel):
                call.cancel()
            for answer in call:
                bridge.write(answer)

        async def relay(_requests: object, context: Any) -> None:
            loop = asyncio.get_running_loop()
            bridge = Bridge(context, loop)
            try:
                with self._slots.one():
                    await loop.run_in_executor(self._threads, pump, bridge, context.time_remaining())
            except Overloaded as error:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            except grpc.RpcError as error:
                await context.abort(
                    error.code(), error.details() or "", tuple(error.trailing_metadata() or ())
                )
            finally:
                bridge.cancel()

        return relay


def _until_broken_off(bridge: Bridge) -> Iterator[bytes]:
    with contextlib.suppress(Unavailable):
        yield from bridge.requests(bytes)


async def serve(settings: FrontSettings) -> int:
    """Serve until SIGTERM, or until the engine is gone; the exit code."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    # Ctrl-C reaches all processes of a terminal: the engine says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # grpcio's own limit would be each server's.
    slots = Slots(settings.max_concurrent_rpcs, "calls")
    _, link = await loop.create_unix_connection(lambda: Link(slots), settings.link)
    sizes = [("grpc.max_receive_message_length", settings.max_message_bytes)]
    sizes.append(("grpc.max_send_message_length", settings.max_message_bytes))
    threads = ThreadPoolExecutor(settings.max_concurrent_rpcs, thread_name_prefix="relay")
    with grpc.insecure_channel(f"unix:{settings.engine}", options=sizes) as channel:
        relay = Relay(link, channel, threads, slots)
        with made_to_stay():
            servers, _ = bind(settings.listen, settings.options, shared=True)
            for server in servers:
                server.add_generic_rpc_handlers((relay,))
                await server.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ends = [asyncio.create_task(event.wait()) for event in (told, link.gone)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        grace = 0.0 if link.gone.is_set() else settings.grace_seconds
        await asyncio.gather(*(server.stop(grace) for server in servers))
    return 1 if link.gone.is_set() and not told.is_set() else 0


def main(path: str) -> None:
    """Run with the settings in a file of JSON."""
    sys.exit(asyncio.run(serve(msgspec.json.decode(Path(path).read_bytes(), type=FrontSettings))))


if __name__ == "__main__":
    main(sys.argv[1])
