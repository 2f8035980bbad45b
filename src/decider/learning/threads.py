"""One BLAS thread for small matrices: several wait for one another longer than they compute.

On two busy cores the choice among learners took 33 s with BLAS's own threads, and 1.1 s with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401  its BLAS must be loaded before the controller looks for it
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Give BLAS one thread inside the block, in the whole process; nothing changes unless `when`."""
    if not when:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
