"""How the process keeps the memory that chunks of decisions use again and again."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BYTES = 1 << 28


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, up to 256 MiB a thread, instead of giving each array back at once.

    A chunk's arrays are of half a megabyte and live for a millisecond. Given back, every page of the next ones is
    zeroed by the kernel again, under a lock that all threads share: a quarter of a run's time. Where the C library
    is not glibc nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 25)
        mallopt(_TRIM_THRESHOLD, _BYTES)
