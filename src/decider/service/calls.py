"""Every call passes here: parse inside, errors to statuses, counts and times, loop or thread.

grpcio parses a request before any of our code runs, and answers UNKNOWN when the bytes cannot be decoded. So
handlers get raw bytes (`request_deserializer=None`) and they are parsed here, where a failure is an ordinary
INVALID_ARGUMENT.

Behaviours that are coroutines run on the event loop. The others may wait for the disk or decide for minutes:
they run in threads, and :mod:`decider.service.bridge` carries requests and answers between the two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, NoReturn

import grpc
from google.rpc import code_pb2
from grpc_status import rpc_status

from decider.errors import InvalidInput, Overloaded, Violation
from decider.service.bridge import Bridge
from decider.service.metrics import Metrics
from decider.service.slots import too_many
from decider.service.statuses import status_of

Behaviour = Callable[..., Any]
Parse = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]


class Calls:
    """Takes services for some servers, each method wrapped; in place of a server for `add_..._to_server`.

    Parameters
    ----------
    servers
        Not started yet; each serves all.
    metrics
        Counts the calls.
    threads
        Run the behaviours that are no coroutines.
    most
        Calls at once, of all servers: more are refused.
    """

    def __init__(
        self, servers: Sequence[grpc.aio.Server], metrics: Metrics, threads: ThreadPoolExecutor, most: int
    ) -> None:
        self._servers, self._metrics, self._threads, self._most = servers, metrics, threads, most

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing: what generated code gives here comes again below, by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serve these methods.

        They are not registered with grpcio by name, as their name says: it then waits for a call of each method
        by itself, and gives up all that waiting whenever one comes.
        """
        wrapped = {name: self._wrapped(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        for server in self._servers:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrapped(self, method: str, handler: Any) -> Any:
        call, parse = _Call(method, self._metrics, self._most), _parser(handler.request_deserializer)
        serialize = _serializer(handler.response_serializer)
        fields = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        field = next(name for name in fields if getattr(handler, name) is not None)
        behaviour = getattr(handler, field)
        if isasyncgenfunction(behaviour):
            made = _async_stream(behaviour, parse, call)
        elif iscoroutinefunction(behaviour):
            made = _coroutine(
                behaviour, parse, serialize if field == "unary_unary" else lambda none: none, call
            )
        elif handler.response_streaming:
            made = _streaming(behaviour, parse, serialize, call, self._threads, handler.request_streaming)
        else:
            made = _unary(behaviour, parse, serialize, call, self._threads, handler.request_streaming)
        changes = {field: made, "request_deserializer": None, "response_serializer": serialize}
        return handler._replace(**changes)


class _Call:
    """Counts and times the calls of one method."""

    def __init__(self, method: str, metrics: Metrics, most: int) -> None:
        self.method = method
        self._most = most
        self._name = method.rpartition("/")[2]
        self._metrics = metrics
        self._seconds = metrics.call_seconds.of(self._name)
        self._ok = metrics.calls.labels(self._name, "OK")

    def begin(self) -> float:
        self._metrics.n_in_flight += 1
        return time.perf_counter()

    def admit(self) -> None:
        """Refuse the call that has begun if there are too many."""
        if self._metrics.n_in_flight > self._most:
            raise Overloaded(too_many(self._most, "calls"))

    def end(self, started: float, code: str) -> None:
        self._metrics.n_in_flight -= 1
        self._seconds.observe(time.perf_counter() - started)
        (self._ok if code == "OK" else self._metrics.calls.labels(self._name, code)).inc()

    async def fail(self, error: BaseException, context: Any, started: float) -> NoReturn:
        """Count the call and end it with the status of `error`; always raises."""
        if isinstance(error, asyncio.CancelledError | grpc.aio.BaseError):
            # The caller is gone, or the behaviour has set a status itself: grpcio knows its own errors again.
            aborted = isinstance(error, grpc.aio.AbortError) and context.code() is not None
            self.end(started, context.code().name if aborted else "CANCELLED")
            raise error
        status = status_of(error, self.method)
        self.end(started, code_pb2.Code.Name(status.code))
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort_with_status always raises")


def _coroutine(behaviour: Behaviour, parse: Parse, serialize: Serialize, call: _Call) -> Behaviour:
    async def wrapped(raw: bytes, context: Any) -> Any:
        started = call.begin()
        try:
            call.admit()
            answer = serialize(await behaviour(parse(raw), context))
        except BaseException as error:  # every error becomes a status
            await call.fail(error, context, started)
        call.end(started, "OK")
        return answer

    return wrapped


def _async_stream(behaviour: Behaviour, parse: Parse, call: _Call) -> Behaviour:
    async def parsed(raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raws:
            yield parse(raw)

    async def wrapped(raws: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        started = call.begin()
        try:
            call.admit()
            async for answer in behaviour(parsed(raws), context):
                yield answer
        except GeneratorExit:
            call.end(started, "CANCELLED")
            raise
        except BaseException as error:  # every error becomes a status
            await call.fail(error, context, started)
        call.end(started, "OK")

    return wrapped


def _unary(
    behaviour: Behaviour,
    parse: Parse,
    serialize: Serialize,
    call: _Call,
    threads: ThreadPoolExecutor,
    takes_stream: bool,
) -> Behaviour:
    def answer_of(raw: Any, bridge: Bridge) -> bytes:
        return serialize(behaviour(bridge.requests(parse) if takes_stream else parse(raw), bridge))

    async def wrapped(raw: Any, context: Any) -> bytes:
        loop, started = asyncio.get_running_loop(), call.begin()
        bridge = Bridge(context, loop)
        try:
            call.admit()
            answer = await loop.run_in_executor(threads, answer_of, raw, bridge)
        except BaseException as error:  # every error becomes a status
            await call.fail(error, context, started)
        finally:
            bridge.cancel()
        call.end(started, "OK")
        return answer

    return wrapped


def _streaming(
    behaviour: Behaviour,
    parse: Parse,
    serialize: Serialize,
    call: _Call,
    threads: ThreadPoolExecutor,
    takes_stream: bool,
) -> Behaviour:
    def pump(raw: Any, bridge: Bridge) -> None:
        answers = behaviour(bridge.requests(parse) if takes_stream else parse(raw), bridge)
        try:
            for answer in answers:
                bridge.write(serialize(answer))
        finally:
            answers.close()

    async def wrapped(raw: Any, context: Any) -> None:
        loop, started = asyncio.get_running_loop(), call.begin()
        bridge = Bridge(context, loop)
        try:
            call.admit()
            await loop.run_in_executor(threads, pump, raw, bridge)
        except BaseException as error:  # every error becomes a status
            await call.fail(error, context, started)
        finally:
            # Also when the client broke off: whatever waits in the thread then ends.
            bridge.cancel()
        call.end(started, "OK")

    return wrapped


def _parser(parse: Parse) -> Parse:
    kind = getattr(getattr(parse, "__self__", None), "DESCRIPTOR", None)
    name = kind.full_name if kind is not None else "the method's request"

    def parsed(raw: bytes) -> Any:
        try:
            return parse(raw)
        except Exception as error:  # DecodeError, or whatever else a parser finds in foreign bytes
            rule = f"must be a protobuf message of type {name}, got {len(raw)} bytes that are none"
            raise InvalidInput([Violation("request", rule)]) from error

    return parsed


def _serializer(serialize: Serialize) -> Serialize:
    """Leaves alone what is serialised already."""

    def serialized(answer: Any) -> bytes:
        return answer if type(answer) is bytes else serialize(answer)

    return serialized
