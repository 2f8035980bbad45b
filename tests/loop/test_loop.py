"""The loop against a real server: it learns the truth, and kills change nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from decider.clock import SystemClock
from decider.config import load_config
from decider.errors import Conflict, CorruptArtifact, InvalidInput, NotReady, Unavailable
from decider.logbook import Logbook
from decider.logbook.schema import EventRecord, EventType, run_id_of
from decider.loop.loop import begin, live
from decider.loop.spec import LoopSpec, load_loop
from decider.models import Registry
from decider.service.client import DeciderClient
from decider.service.compose import engine_to_read
from tests.loop.house import TRUTH, build_house, crowd

ROOT = Path(__file__).parents[2]
N_EPOCHS = 20
N_KILLS = 5


class Server:
    """`python server.py` on a house."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "server.py", "--config", str(directory / "decider.toml"), "--json"]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{") and json.loads(line).get("event") == "serving":
                break
        else:
            pytest.fail("the server ended before it served")
        self._drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._drain.start()

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)
        self._drain.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def result(directory: Path) -> tuple[str, dict[str, bytes], list[tuple[str, str]]]:
    """The model's version, its files, and all decisions."""
    registry = Registry(directory / "models")
    version = registry.load("visits").version
    files = {}
    for path in sorted((directory / "models").rglob("*")):
        if path.is_file() and path.parent.name != "visits":
            files[str(path.relative_to(directory))] = path.read_bytes()
    with Logbook.open(directory / "logbook", read_only=True) as log:
        segments = [(info.file, info.xxh3_128) for run in log.runs() for info in log.segments(run.run_id)]
    return version, files, segments


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, object]]]]:
    directory = tmp_path_factory.mktemp("loop") / "undisturbed"
    spec = build_house(directory)
    server = Server(directory)
    try:
        config = load_config(directory / "decider.toml")
        epochs = live(spec, config, SystemClock(), N_EPOCHS, lambda c, n: crowd(directory, spec, c, n))
        yield directory, [epoch.as_dict() for epoch in epochs]
    finally:
        server.end()


def test_it_learns_what_messages_cause(undisturbed: tuple[Path, list[dict[str, object]]]) -> None:
    # 20 epochs of some 200 drawn sets: the standard error of an average is about 0.02; five of them.
    _, epochs = undisturbed
    assert [epoch["epoch"] for epoch in epochs] == list(range(N_EPOCHS))
    assert epochs[0]["n_closed"] == 1
    # Some 200 drawn sets are too few to tell of whole sets.
    assert all("effective sample size must be at least 100" in str(epoch["unjudged"]) for epoch in epochs)
    averages = epochs[-1]["averages"]
    assert isinstance(averages, dict)
    for name, truth in TRUTH.items():
        assert averages[name] == pytest.approx(truth, abs=0.1)
    assert len({epoch["published"] for epoch in epochs}) == N_EPOCHS


def test_no_more_events_are_read_than_the_oldest_window_needs(
    undisturbed: tuple[Path, list[dict[str, object]]], tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(undisturbed[0], tmp_path / "house"))
    spec, config = load_loop(directory / "loop.toml"), load_config(directory / "decider.toml")
    runs = [run_id_of(spec.request_of(number)) for number in range(N_EPOCHS)]
    with Logbook.open(directory / "logbook", read_only=True) as log:
        everything = pl.concat(log.event_frames())
    run_of = everything["decision_id"].str.split("-").list.first()
    # The event before the first of epoch 5 cannot be read any more: whoever reads it hears of it.
    last = int(everything.filter(run_of == runs[4])["sequence"].max())
    with closing(sqlite3.connect(directory / "logbook" / "log.sqlite")) as database:
        database.execute("UPDATE events SET crc = (crc + 1) % 4294967296 WHERE sequence = ?", (last,))
        database.commit()
    with engine_to_read(config) as engine:
        for some in (runs[5:6], runs[5:7], runs[-1:]):
            found = pl.concat(engine.events_of_runs(some, engine.last_sequence))
            assert found["event_id"].to_list() == everything.filter(run_of.is_in(some))["event_id"].to_list()
        with pytest.raises(CorruptArtifact, match="must have CRC-32"):
            list(engine.events_of_runs(runs[4:6], engine.last_sequence))
        assert list(engine.events_of_runs(runs[4:6], last - 1))
        assert list(engine.events_of_runs([], engine.last_sequence)) == []


@pytest.mark.slow
def test_kills_change_nothing(undisturbed: tuple[Path, list[dict[str, object]]], tmp_path: Path) -> None:
    """The loop killed with -9 five times at random moments, once together with the server."""
    expected = result(undisturbed[0])
    directory, moments = tmp_path / "killed", random.Random(4)
    build_house(directory)
    servers = [Server(directory)]
    command = [sys.executable, "-m", "tests.loop.house", str(directory), str(N_EPOCHS)]
    try:
        for life in range(N_KILLS):
            loop = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True)
            assert loop.stdout is not None
            # Some epochs, of which there are enough for all five lives, and into the next.
            for _ in range(1 + moments.randint(0, 3)):
                assert loop.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.15))
            loop.kill()
            if life == 2:
                servers.pop().end(signal.SIGKILL)
                servers.append(Server(directory))
            loop.communicate()
        done = subprocess.run(
            command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        # The kills came while there was something to kill.
        assert 0 < len(done.stdout.splitlines()) - 1 < N_EPOCHS
    finally:
        for server in servers:
            server.end()
    found = result(directory)
    assert found[0] == expected[0]
    assert found == expected


def test_what_is_reported_too_late_counts_neither_now_nor_after_a_restart(tmp_path: Path) -> None:
    versions = []
    for restarted in (False, True):
        directory = tmp_path / f"late-{restarted}"
        spec = build_house(directory)
        config = load_config(directory / "decider.toml")
        server = Server(directory)
        try:

            def report(
                client: DeciderClient, epoch: int, house: Path = directory, loop: LoopSpec = spec
            ) -> None:
                crowd(house, loop, client, epoch)

            epochs = live(spec, config, SystemClock(), 3, report)
            next(epochs), next(epochs)
            at = int(spec.time_of(0).timestamp() * 1e6) + 3_600_000_000
            run_id = run_id_of(spec.request_of(0))
            late = [
                EventRecord(
                    event_id=f"late-{ordinal}",
                    type=EventType.CLICKED,
                    event_time_micros=at,
                    decision_id=f"{run_id}-{ordinal}",
                )
                for ordinal in range(0, 400, 2)
            ]
            with DeciderClient(spec.server) as client:
                assert client.record_events(late).new_count == len(late)
            if restarted:
                epochs.close()
                epochs = live(spec, config, SystemClock(), 3, report)
            versions.append([epoch.published for epoch in epochs][-1])
        finally:
            server.end()
    assert versions[0] == versions[1] != ""


def test_what_the_loop_refuses(tmp_path: Path) -> None:
    directory = tmp_path / "house"
    spec = build_house(directory)
    config = load_config(directory / "decider.toml")
    with pytest.raises(Conflict, match="is published already"):
        begin(spec, config)
    impatient = LoopSpec(
        **{name: getattr(spec, name) for name in spec.__struct_fields__} | {"patience_seconds": 0.2}
    )
    server = Server(directory)
    server.end()
    with pytest.raises(Unavailable, match=r"was out of reach for 0\.2 s"):
        next(live(impatient, config, SystemClock(), 1))
    other = LoopSpec(**{name: getattr(spec, name) for name in spec.__struct_fields__} | {"model": "nobody"})
    with pytest.raises(NotReady, match="'nobody' is not published: `decider loop begin`"):
        next(live(other, config, SystemClock(), 1))


def test_two_loops_of_one_name_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "house"
    spec = build_house(directory)
    config = load_config(directory / "decider.toml")
    server = Server(directory)
    try:
        first = live(spec, config, SystemClock(), 3)
        said = next(first)
        # Nobody came: no reward varies, so nothing is published and it says why.
        assert said.published == ""
        assert "reward must vary" in said.refused
        with pytest.raises(Conflict, match="is a loop that is running already"):
            next(live(spec, config, SystemClock(), 3))
        first.close()
    finally:
        server.end()


def test_only_closed_windows_count() -> None:
    spec = load_loop(ROOT / "examples" / "loop.toml")
    day = spec.epoch_seconds
    assert spec.reward.window_seconds == 3 * day
    found = [spec.closed_by(spec.time_of(number)) for number in range(6)]
    assert found == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("keep = 0.0", r"keep must be in \(0, 1\], got 0.0"),
        ("epoch_seconds = 0", "epoch_seconds must be >= 1, got 0"),
        ("unknown = 1", "must be a loop's TOML"),
        ('name = ""', "name must not be empty"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, line: str, said: str) -> None:
    text = (ROOT / "examples" / "loop.toml").read_text()
    field = line.split(" =")[0]
    kept = text.splitlines()
    for place, each in enumerate(kept):
        if each.startswith(f"{field} ="):
            del kept[place]
            break
    path = tmp_path / "loop.toml"
    path.write_text("\n".join([line, *kept]))
    with pytest.raises(InvalidInput, match=said):
        load_loop(path)
