"""The event loop that all gRPC servers of this process run on, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Result = TypeVar("Result")


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """The loop, running; one for the whole process.

    grpcio wakes every loop that it knows for every event of any call: a second one would only be in the way.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="grpc", daemon=True).start()
    return loop


def run(coroutine: Coroutine[Any, Any, Result], timeout_seconds: float | None = None) -> Result:
    """Run a coroutine on the loop and return what it returns. Not to be called on the loop itself."""
    return asyncio.run_coroutine_threadsafe(coroutine, event_loop()).result(timeout_seconds)
