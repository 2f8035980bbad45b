"""The port that calls come to: whether it is free, and the servers on it.

A process has several of grpcio's servers on its port, and the system gives each connection to one of them. One for
the event loop asks for one call at a time: the next one is not looked at before the loop has heard of the last, from
another thread. Where cores are busy that takes longer than a call, and calls queue while the loop has nothing to do.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

import grpc

from decider.errors import InvalidInput
from decider.service.settings import ServiceSettings

N_SERVERS = 16
"""So many that few connections share one. A server without connections costs a socket."""


def channel_options(settings: ServiceSettings) -> list[tuple[str, int]]:
    """What grpcio is told of a port."""
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # A client that vanished without a word is noticed, and its batch with it, within 80 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def bind(
    listen: str, options: Sequence[tuple[str, int]], *, shared: bool
) -> tuple[list[grpc.aio.Server], int]:
    """Make the servers of one address, not started yet, and bind them.

    Parameters
    ----------
    listen
        ``HOST:PORT``, port 0 for a free one, or ``unix:PATH``, which one server has for itself.
    options
        From :func:`channel_options`.
    shared
        Other processes may have the port too.

    Returns
    -------
    The servers, and the port.

    Raises
    ------
    InvalidInput
        When the address cannot be bound.
    """
    alone = listen.startswith("unix:") or not hasattr(socket, "SO_REUSEPORT")
    if not (shared or alone):
        check_free(listen)
    told = [*options, ("grpc.so_reuseport", int(shared or not alone))]
    servers = [grpc.aio.server(options=told) for _ in range(1 if alone else N_SERVERS)]
    try:
        port = int(servers[0].add_insecure_port(listen))
        for server in servers[1:]:
            server.add_insecure_port(f"{listen.rpartition(':')[0]}:{port}")
    except RuntimeError as error:
        raise _not_free(listen) from error
    return servers, port


def check_free(listen: str) -> None:
    """Refuse a port that another process has, also one that would share it.

    Raises
    ------
    InvalidInput
        When it is not free.
    """
    for family, kind, protocol, _, address in _addresses(listen):
        with socket.socket(family, kind, protocol) as alone:
            # As servers do, so that connections that have just ended are no hindrance.
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                alone.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _not_free(listen) from error


def reserve(listen: str, *, shared: bool) -> tuple[socket.socket, int]:
    """Hold a port that processes of ours are going to share; give it and its number.

    Parameters
    ----------
    listen
        ``HOST:PORT``.
    shared
        Processes of others may have the port too.

    Raises
    ------
    InvalidInput
        When the address cannot be bound.
    """
    if not shared:
        check_free(listen)
    family, kind, protocol, _, address = _addresses(listen)[0]
    reserved = socket.socket(family, kind, protocol)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except OSError as error:
        reserved.close()
        raise _not_free(listen) from error
    return reserved, int(reserved.getsockname()[1])


def _addresses(listen: str) -> list[tuple[Any, ...]]:
    host, _, port = listen.rpartition(":")
    try:
        return [
            *socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ]
    except (OSError, ValueError) as error:
        raise _not_free(listen) from error


def _not_free(listen: str) -> InvalidInput:
    return InvalidInput.of("listen", "must be an address and a free port of this machine", listen)
