"""A load generator that costs a fraction of the calls it makes: HTTP/2 frames by hand, every request its own.

gRPC's own client in Python takes as long for a call as the server does, so it would measure itself. h2load is
compiled, but sends one and the same request over and over, and a decision that was made already is only looked
up. This one writes what any gRPC client writes, counts the frames that come back, and knows nothing more.

``python -m decider.bench.load``, see :func:`main`.
"""

from __future__ import annotations

import json
import math
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_LARGEST: Final = 2**31 - 1
_LATER_HEADERS: Final = b"\x83\x86\xc1\xc0\xbf\xbe"
"""POST, http, and the four fields that the first request put into the table of the connection."""


class Connection:
    """One connection, with any number of calls on it.

    Parameters
    ----------
    port
        Of this machine.
    method
        ``/package.Service/Method``.
    """

    def __init__(self, port: int, method: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._unsent = bytearray(_PREFACE)
        # Windows as large as they get: how fast answers are read is not what is measured.
        self._unsent += _frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, _LARGEST))
        self._unsent += _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _LARGEST - 65_535))
        self._headers = _first_headers(method, port)
        self._stream = 1
        self._window = 65_535
        self._answered: set[int] = set()
        self._n_received = 0

    def call(self, request: bytes) -> int:
        """Queue a call; give its stream."""
        stream, self._stream = self._stream, self._stream + 2
        body = b"\0" + struct.pack(">I", len(request)) + request
        self._window -= len(body)
        if self._window < 0:
            raise RuntimeError("the server gave no room for a request")
        self._unsent += _frame(_HEADERS, _END_HEADERS, stream, self._headers)
        self._unsent += _frame(_DATA, _END_STREAM, stream, body)
        self._headers = _LATER_HEADERS
        return stream

    def flush(self) -> None:
        """Send what is queued."""
        if self._unsent:
            self.socket.sendall(self._unsent)
            self._unsent.clear()

    def receive(self) -> Iterator[tuple[int, bool]]:
        """Wait for something to come; give the calls that have ended, and whether each was answered."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RuntimeError("the server closed the connection")
        buffer, at = self._buffer, 0
        buffer += data
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3])
            end = at + 9 + size
            if len(buffer) < end:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9]) & _LARGEST
            if kind == _DATA:
                self._answered.add(stream)
                self._n_received += size
            elif kind == _HEADERS and flags & _END_STREAM:
                yield stream, stream in self._answered
                self._answered.discard(stream)
            elif kind == _RST_STREAM:
                yield stream, False
            elif kind == _GOAWAY:
                raise RuntimeError(f"the server ended the connection: {bytes(buffer[at + 9 : end])!r}")
            else:
                self._housekeeping(kind, flags, stream, bytes(buffer[at + 9 : end]))
            at = end
        del buffer[:at]
        if self._n_received > 1 << 20:
            self._unsent += _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._n_received))
            self._n_received = 0

    def _housekeeping(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload) & _LARGEST
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._unsent += _frame(kind, _ACK, 0, payload if kind == _PING else b"")


class Load:
    """What a load found."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        """Seconds of each answered call."""
        self.n_failed = 0
        """Calls that ended without an answer: refused, mostly."""
        self.seconds = 0.0

    def as_dict(self) -> dict[str, float]:
        """Calls a second, and latencies in seconds; NaN where no call was answered."""
        latencies = sorted(self.latencies)
        n = len(latencies)
        return {
            "rate": n / self.seconds,
            "p50": latencies[n // 2] if n else math.nan,
            "p99": latencies[n * 99 // 100] if n else math.nan,
            "n": n,
            "n_failed": self.n_failed,
        }


def closed_loop(
    port: int, method: str, requests: Iterator[bytes], n_callers: int, n_connections: int, seconds: float
) -> Load:
    """Callers that call again as soon as they are answered, for so long."""
    load, connections = Load(), [Connection(port, method) for _ in range(n_connections)]
    started: dict[tuple[Connection, int], float] = {}
    selector = _selector(connections)
    begin = time.perf_counter()
    for place in range(n_callers):
        connection = connections[place % n_connections]
        started[connection, connection.call(next(requests))] = begin
    while (now := time.perf_counter()) - begin < seconds:
        for connection in connections:
            connection.flush()
        for key, _ in selector.select(1.0):
            connection = key.data
            for stream, answered in connection.receive():
                now = time.perf_counter()
                _count(load, started.pop((connection, stream)), now, answered)
                started[connection, connection.call(next(requests))] = now
    load.seconds = now - begin
    _close(connections)
    return load


def open_loop(
    port: int, method: str, requests: Iterator[bytes], rate: float, n_connections: int, seconds: float
) -> Load:
    """Calls at random times, `rate` a second on average: nobody waits for an answer before the next call.

    Latencies count from when a call was due.
    """
    load, connections = Load(), [Connection(port, method) for _ in range(n_connections)]
    started: dict[tuple[Connection, int], float] = {}
    selector, rng = _selector(connections), random.Random(1)
    begin = time.perf_counter()
    due, n = begin, 0
    while (now := time.perf_counter()) - begin < seconds or started:
        while due <= now and due - begin < seconds:
            connection = connections[n % n_connections]
            started[connection, connection.call(next(requests))] = due
            due, n = due + rng.expovariate(rate), n + 1
        for connection in connections:
            connection.flush()
        for key, _ in selector.select(max(0.0, min(due - time.perf_counter(), 0.1))):
            for stream, answered in key.data.receive():
                _count(load, started.pop((key.data, stream)), time.perf_counter(), answered)
    load.seconds = seconds
    _close(connections)
    return load


def write_requests(path: Path, requests: list[bytes]) -> None:
    """Requests for a generator in another process."""
    path.write_bytes(b"".join(struct.pack("<I", len(request)) + request for request in requests))


def main(arguments: list[str]) -> None:
    """Run a load and print what it found as JSON.

    ``PORT METHOD REQUESTS FIRST CONNECTIONS SECONDS closed CALLERS`` or ``... open RATE``: the requests of a file
    from one on.
    """
    port, method, path, first, n_connections, seconds, kind, how = arguments
    requests = _read_requests(Path(path), int(first))
    if kind == "closed":
        load = closed_loop(int(port), method, requests, int(how), int(n_connections), float(seconds))
    else:
        load = open_loop(int(port), method, requests, float(how), int(n_connections), float(seconds))
    sys.stdout.write(json.dumps(load.as_dict()))


def _read_requests(path: Path, first: int) -> Iterator[bytes]:
    # Those before the first are passed over here, and not while the first calls are due.
    data, at = path.read_bytes(), 0
    for _ in range(first):
        at += 4 + struct.unpack_from("<I", data, at)[0]
    return _requests_from(data, at)


def _requests_from(data: bytes, at: int) -> Iterator[bytes]:
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size
    raise RuntimeError("more calls were made than there are requests")


def _selector(connections: list[Connection]) -> selectors.BaseSelector:
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    return selector


def _count(load: Load, started: float, now: float, answered: bool) -> None:
    if answered:
        load.latencies.append(now - started)
    else:
        load.n_failed += 1


def _close(connections: list[Connection]) -> None:
    for connection in connections:
        connection.socket.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _first_headers(method: str, port: int) -> bytes:
    """POST, http, and four fields that the other side is to keep in its table: path first, te last."""

    def text(value: str) -> bytes:
        return bytes((len(value),)) + value.encode()

    return b"".join(
        (
            b"\x83\x86\x44", text(method), b"\x41", text(f"127.0.0.1:{port}"),
            b"\x5f", text("application/grpc"), b"\x40", text("te"), text("trailers"),
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
