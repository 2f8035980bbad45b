"""A process that appends to a logbook without end and prints what was acknowledged; see test_crash."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from decider import errors
from decider.logbook.segments import SegmentFiles
from decider.logbook.store import Logbook
from tests.logbook import records

_printing = threading.Lock()


def acknowledge(line: str) -> None:
    with _printing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def append(logbook: Logbook, worker: int, life: int) -> None:
    count = 0
    while True:
        request_id = f"{life}-{worker}-{count}"
        appended = logbook.append_decision(records.decision(request_id))
        appended.wait()
        acknowledge(f"d {request_id} {appended.sequence}")
        if count % 4 == 0:
            logbook.append_events(
                [
                    records.event(f"{request_id}-{place}", decision_id=appended.record.decision_id)
                    for place in (0, 1)
                ]
            )
            acknowledge(f"e {request_id}")
        count += 1


def seal(logbook: Logbook, life: int) -> None:
    run = logbook.start_run(records.run(f"bulk-{life}"))
    acknowledge(f"r {run.request_id}")
    count = 0
    while True:
        records.log_segment(logbook, run.run_id, 50 * count, records.segment(50, 50 * count))
        acknowledge(f"s {run.request_id} {50 * count}")
        count += 1


def warm_up() -> None:
    """Seal once elsewhere: what the encoder loads at its first use would leave no time to be killed at."""
    with tempfile.TemporaryDirectory() as elsewhere:
        files = SegmentFiles(Path(elsewhere))
        files.seal(records.run("warm-up"), 0, records.segment(50, 0), lambda: None).written.result()
        files.close()


def main(directory: str, life: str) -> None:
    warm_up()
    logbook = Logbook.open(Path(directory))
    threads = [
        threading.Thread(target=append, args=(logbook, worker, int(life)), daemon=True) for worker in range(4)
    ]
    threads.append(threading.Thread(target=seal, args=(logbook, int(life)), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def until_full(directory: str) -> None:
    """Append with files limited to a few pages, as on a full disk; then say how it was refused."""
    import resource

    logbook = Logbook.open(Path(directory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    count = 0
    try:
        while True:
            logbook.append_decision(records.decision(f"full-{count}")).wait()
            acknowledge(f"d full-{count}")
            count += 1
    except errors.Unavailable as refusal:
        acknowledge(f"refused {refusal}")
    for again in (f"full-{count}", "later"):
        try:
            logbook.append_decision(records.decision(again)).wait()
        except errors.Unavailable as refusal:
            acknowledge(f"still {refusal}")
    try:
        logbook.find_request(f"full-{count}")
    except errors.Unavailable as refusal:
        acknowledge(f"unknown {refusal}")
    logbook.close()


if __name__ == "__main__":
    if sys.argv[2] == "full":
        until_full(sys.argv[1])
    else:
        main(sys.argv[1], sys.argv[2])
