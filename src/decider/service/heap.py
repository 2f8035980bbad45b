"""Memory of a serving process and of its clients: the garbage collector's, and that of the C library."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LARGE_BLOCK: Final = 31 << 20
"""The most that glibc takes as a hint is 32 MiB."""
_MANY: Final = 500_000
"""Objects; a start on kernels in their cache makes some 280,000."""


@contextmanager
def made_to_stay() -> Iterator[None]:
    """Make what stays as long as the process does, and take it out of the garbage collector's rounds.

    Modules and kernels leave hardly any garbage, 2,000 objects of 280,000, and to look for it over and over took a
    sixth of a service's start: so the first round comes after many more. Compilers leave hundreds of megabytes of it.
    """
    usual, n_before = gc.get_threshold(), _n_rounds()
    gc.set_threshold(_MANY, *usual[1:])
    try:
        yield
    finally:
        # The usual threshold last: what was made would set off a round of its own.
        if _n_rounds() > n_before:
            gc.collect()
        gc.freeze()
        gc.set_threshold(*usual)


def _n_rounds() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def settle_heap() -> None:
    """Collect what is left of what was to stay, and take the rest out of the collector's rounds again.

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
