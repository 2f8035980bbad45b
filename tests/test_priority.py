"""Threads that let others go first, and no other thread with them."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from decider.config import load_config
from decider.priority import step_back
from decider.service.start import BEHIND_CALLS, open_service
from tests.service.test_end_to_end import write_world

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities are a process's")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def test_a_thread_steps_back_alone_and_by_as_many_steps() -> None:
    before = niceness()
    with ThreadPoolExecutor(2, initializer=step_back, initargs=(3,)) as pool:
        assert {pool.submit(niceness).result() for _ in range(8)} == {min(before + 3, 19)}
        pool.submit(step_back, 0).result()
        assert {pool.submit(niceness).result() for _ in range(8)} == {min(before + 3, 19)}
    assert niceness() == before


def test_nothing_lies_beyond_the_last_step() -> None:
    with ThreadPoolExecutor(1, initializer=step_back, initargs=(100,)) as pool:
        assert pool.submit(niceness).result() == 19


def test_runs_of_a_service_let_its_calls_go_first(tmp_path: Path) -> None:
    config = load_config(write_world(tmp_path))
    before = set(threading.enumerate())
    composition, server = open_service(config)
    try:
        # Warming up has run once, so they are there.
        found: dict[bool, set[int]] = {True: set(), False: set()}
        for thread in set(threading.enumerate()) - before:
            if thread.native_id is not None:
                of_runs = thread.name.startswith("decide_")
                found[of_runs].add(os.getpriority(os.PRIO_PROCESS, thread.native_id))
        assert found == {True: {min(niceness() + BEHIND_CALLS, 19)}, False: {niceness()}}
    finally:
        server.stop(0.0)
        composition.close()
