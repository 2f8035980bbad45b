"""Chunks made ahead on another thread, and the parts of a chunk worked on side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, TypeVar

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")

THREADS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""As many as there are processors; results do not depend on it."""

_END: Final = object()


def ahead(items: Iterable[ItemT]) -> Iterator[ItemT]:
    """Make the next item on another thread while this one is worked on: two are in memory at most.

    Whatever goes wrong there is raised here, in its turn. Where the caller stops early, the item under way is waited
    for and dropped.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, source, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, source, _END)
            yield item  # type: ignore[misc]


class SideBySide:
    """A few threads for work that is done in kernels and array operations, which let go of the interpreter.

    Parameters
    ----------
    threads
        How many; one does the work where it is asked for.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="judge") if threads > 1 else None

    def map(self, work: Callable[[ItemT], FoundT], items: Iterable[ItemT]) -> list[FoundT]:
        """Do the work for all items; the first error, in the order of the items, is raised when all have ended."""
        if self._pool is None:
            return [work(item) for item in items]
        futures = [self._pool.submit(work, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
