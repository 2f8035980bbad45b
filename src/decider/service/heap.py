"""Memory of a serving process and of its clients: the garbage collector's, and that of the C library."""

from __future__ import annotations

import gc
from typing import Final

_LARGE_BLOCK: Final = 31 << 20
"""The most that glibc takes as a hint is 32 MiB."""


def settle_heap() -> None:
    """Take what the process holds now out of the garbage collector's rounds: for what stays as long as it does.

    With all that an engine has imported and compiled a full round takes 80 ms, and every call waits for it.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def keep_large_blocks() -> None:
    """Have the C library keep what is freed, instead of giving it back and having the kernel clear it anew.

    Answers of a batch are blocks of megabytes, and a page that is touched for the first time takes longer than
    what is done with it. glibc gives blocks back at once until it has seen one of their size freed, and keeps
    twice as much from then on (mallopt(3), M_MMAP_THRESHOLD): one is shown here, of which nothing is touched.
    """
    bytes(_LARGE_BLOCK)
