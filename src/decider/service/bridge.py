"""A call on the event loop, as a behaviour in a thread sees it: requests to iterate, answers to write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import grpc

from decider.errors import Unavailable

PEER = "decider-peer"
"""Metadata of a relayed call: where the front has it from."""


class Bridge:
    """The context of a call for a thread.

    Parameters
    ----------
    context
        The call, on the loop.
    loop
        The loop.
    """

    def __init__(self, context: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._context, self._loop = context, loop
        self._lock = threading.Lock()
        self._active = True
        self._callbacks: list[Callable[[], object]] = []
        self._under_way: set[Future[Any]] = set()

    def is_active(self) -> bool:
        """Whether anybody still waits for the answer."""
        return self._active

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Call when the call has ended, however it ends; False when it has already."""
        with self._lock:
            if self._active:
                self._callbacks.append(callback)
            return self._active

    def peer(self) -> str:
        """Where the call comes from; a front tells where it has it from."""
        peer = str(self._context.peer())
        if peer.startswith("unix:"):
            peer = str(dict(self._context.invocation_metadata()).get(PEER, peer))
        return peer

    def cancel(self) -> None:
        """Break the call off: a read or write that waits for the client ends at once."""
        self.end()
        for under_way in tuple(self._under_way):
            under_way.cancel()

    def end(self) -> None:
        """The call has ended; a second time nothing happens."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._active = False
        for callback in callbacks:
            callback()

    def requests(self, parse: Callable[[bytes], Any]) -> Iterator[Any]:
        """What the client sends, parsed, until it closes its side.

        Raises
        ------
        Unavailable
            When the call was broken off.
        """
        while (raw := self._await(self._context.read())) is not grpc.aio.EOF:
            yield parse(raw)

    def write(self, answer: bytes) -> None:
        """Send an answer; returns when there is room for the next one.

        Raises
        ------
        Unavailable
            When the call was broken off.
        """
        self._await(self._context.write(answer))

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if not self._active:
            coroutine.close()
            raise Unavailable("the call was broken off")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._under_way.add(future)
        if not self._active:  # broken off in between: nobody has cancelled this one
            future.cancel()
        try:
            return future.result()
        except (CancelledError, grpc.aio.BaseError) as error:
            raise Unavailable("the call was broken off") from error
        finally:
            self._under_way.discard(future)
