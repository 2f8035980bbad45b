"""Every call passes here: parse inside, errors to statuses, counts and times.

grpcio parses a request before any of our code runs; when the bytes cannot be decoded it answers INTERNAL and
never gives the stream slot back. So the handler gets raw bytes (`request_deserializer=None`) and they are
parsed here, where a failure is an ordinary INVALID_ARGUMENT.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, NoReturn

import grpc
from google.rpc import code_pb2
from grpc_status import rpc_status

from decider.errors import InvalidInput, Violation
from decider.service.metrics import Metrics
from decider.service.statuses import status_of

Behaviour = Callable[..., Any]
Parse = Callable[[bytes], Any]


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Wraps each method's handler once and keeps it.

    Parameters
    ----------
    metrics
        Counts the calls.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrapped: dict[str, Any] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The handler that serves a call, wrapped; none for an unknown method."""
        wrapped = self._wrapped.get(details.method)
        if wrapped is not None:
            return wrapped
        handler = continuation(details)
        if handler is None:
            return None
        # A handler belongs to its method for the server's life: two threads at most wrap it twice.
        self._wrapped[details.method] = wrapped = _wrap(details.method, handler, self._metrics)
        return wrapped


def _wrap(method: str, handler: Any, metrics: Metrics) -> Any:
    parse = _parser(handler.request_deserializer)
    call = _Call(method, metrics)
    if handler.request_streaming and handler.response_streaming:
        behaviour = _streaming(handler.stream_stream, _each(parse), call)
        return handler._replace(request_deserializer=None, stream_stream=behaviour)
    if handler.request_streaming:
        behaviour = _unary(handler.stream_unary, _each(parse), call)
        return handler._replace(request_deserializer=None, stream_unary=behaviour)
    if getattr(handler.unary_stream, "experimental_non_blocking", False):
        behaviour = _by_callback(handler.unary_stream, parse, call)
        return handler._replace(request_deserializer=None, unary_stream=behaviour)
    if handler.response_streaming:
        behaviour = _streaming(handler.unary_stream, parse, call)
        return handler._replace(request_deserializer=None, unary_stream=behaviour)
    behaviour = _unary(handler.unary_unary, parse, call)
    return handler._replace(request_deserializer=None, unary_unary=behaviour)


class _Call:
    """Counts and times the calls of one method."""

    def __init__(self, method: str, metrics: Metrics) -> None:
        self.method = method
        self._name = method.rpartition("/")[2]
        self._in_flight = metrics.in_flight
        self._seconds = metrics.call_seconds.labels(self._name)
        self._calls = metrics.calls
        self._ok = metrics.calls.labels(self._name, "OK")

    def begin(self) -> float:
        self._in_flight.inc()
        return time.perf_counter()

    def end(self, started: float, code: str) -> None:
        self._in_flight.dec()
        self._seconds.observe(time.perf_counter() - started)
        (self._ok if code == "OK" else self._calls.labels(self._name, code)).inc()

    def fail(self, error: BaseException, context: Any, started: float) -> NoReturn:
        """Count the call and end it with the status of `error`; always raises."""
        if isinstance(error, grpc.RpcError) or not context.is_active():
            # The caller is gone: grpcio knows its own error again and stays silent.
            self.end(started, "CANCELLED")
            raise error
        status = status_of(error, self.method)
        self.end(started, code_pb2.Code.Name(status.code))
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort_with_status always raises")


def _unary(behaviour: Behaviour, parse: Callable[[Any], Any], call: _Call) -> Behaviour:
    def wrapped(raw: Any, context: Any) -> Any:
        started = call.begin()
        try:
            answer = behaviour(parse(raw), context)
        except Exception as error:  # every error becomes a status
            call.fail(error, context, started)
        call.end(started, "OK")
        return answer

    return wrapped


def _streaming(behaviour: Behaviour, parse: Callable[[Any], Any], call: _Call) -> Behaviour:
    def wrapped(raw: Any, context: Any) -> Iterator[Any]:
        started = call.begin()
        try:
            yield from behaviour(parse(raw), context)
        except GeneratorExit:
            call.end(started, "CANCELLED")
            raise
        except Exception as error:  # every error becomes a status
            call.fail(error, context, started)
        call.end(started, "OK")

    return wrapped


def _by_callback(behaviour: Behaviour, parse: Parse, call: _Call) -> Behaviour:
    """Wrap a behaviour that answers through a callback for as long as the caller listens (health's Watch)."""

    def wrapped(raw: bytes, context: Any, send: Callable[[Any], None]) -> Any:
        started = call.begin()
        try:
            answer = behaviour(parse(raw), context, send)
        except Exception as error:  # every error becomes a status
            call.fail(error, context, started)
        call.end(started, "OK")
        return answer

    # grpcio finds the attributes that ask for this form on the behaviour itself.
    return update_wrapper(wrapped, behaviour)


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


def _each(parse: Parse) -> Callable[[Iterator[bytes]], Iterator[Any]]:
    def parsed(raws: Iterator[bytes]) -> Iterator[Any]:
        return map(parse, raws)

    return parsed
