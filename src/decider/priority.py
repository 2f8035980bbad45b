"""Threads that let others go first, where threads have priorities of their own."""

from __future__ import annotations

import contextlib
import os
import sys


def step_back(steps: int) -> None:
    """Give the calling thread a lower priority, by so many of 20 steps of niceness.

    Each step is a fifth of its share of a core that others want too. Where priorities are a process's, and where the
    system forbids it, nothing changes.
    """
    if sys.platform == "linux" and steps:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + steps)
