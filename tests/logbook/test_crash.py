"""What was acknowledged survives ``kill -9`` and a full disk; what was not leaves nothing half done."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decider.logbook.schema import decision_id, run_id_of
from decider.logbook.store import Logbook

ROOT = Path(__file__).parents[2]


def start(directory: Path, argument: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.logbook.appender", str(directory), argument],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(20)
    acknowledged: list[str] = []
    for life in range(20):
        process = start(tmp_path, str(life))
        assert process.stdout is not None
        # The first line says that appends have begun: the moment is counted from there.
        first = process.stdout.readline()
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        rest, problem = process.communicate()
        assert "Error" not in problem
        # A last line without its end was being printed when the process died.
        acknowledged += [line for line in (first + rest).split("\n")[:-1] if line]
        with Logbook.open(tmp_path) as logbook:
            check(logbook, acknowledged)
    kinds = {line[0] for line in acknowledged}
    assert kinds == {"d", "e", "r", "s"}


def check(logbook: Logbook, acknowledged: list[str]) -> None:
    decisions = [row for frame in logbook.decision_frames() for row in frame.iter_rows(named=True)]
    sequences = {row["decision_id"]: row["sequence"] for row in decisions}
    assert len(sequences) == len(decisions), "a decision is double"
    events = [row for frame in logbook.event_frames() for row in frame.iter_rows(named=True)]
    stored = {row["event_id"] for row in events}
    assert len(stored) == len(events), "an event is double"
    taken = sorted({*sequences.values(), *(row["sequence"] for row in events)})
    assert taken == list(range(1, len(taken) + 1)), "the sequence has a gap"
    assert all(name.rpartition("-")[0] + f"-{1 - int(name[-1])}" in stored for name in stored), "half a batch"
    for line in acknowledged:
        kind, request_id, *more = line.split()
        if kind == "d":
            assert sequences[decision_id(request_id)] == int(more[0])
        elif kind == "e":
            assert {f"{request_id}-0", f"{request_id}-1"} <= stored
        elif kind == "r":
            logbook.run(request_id=request_id)
        else:
            assert logbook.has_decision(f"{run_id_of(request_id)}-{int(more[0]) + 49}")


def test_full_disk_refuses_everything_until_reopened(tmp_path: Path) -> None:
    process = start(tmp_path, "full")
    output, problem = process.communicate(timeout=60)
    assert process.returncode == 0, problem
    lines = output.splitlines()
    written = [line.split()[1] for line in lines if line.startswith("d ")]
    assert [line.split()[0] for line in lines[len(written) :]] == ["refused", "still", "still", "unknown"]
    assert all("logbook cannot write until it is opened again" in line for line in lines[len(written) :])
    with Logbook.open(tmp_path) as logbook:
        assert all(logbook.find_request(name) for name in written)
        assert logbook.find_request("later") is None
        assert logbook.last_sequence == logbook.verify()
