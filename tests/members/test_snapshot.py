"""A snapshot is opened whole or refused by the name of the file that is wrong."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from small_members import built, members, sends, spec

from decider.errors import CorruptArtifact, InvalidInput, NotReady, UnknownName
from decider.members import Snapshot, build_snapshot
from decider.members.manifest import encode

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module", params=["int64", "string"])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("good")
    table = members(400, text_ids=request.param == "string")
    return built(directory, table, sends(table)).path


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "copy"))


def test_a_flipped_bit_in_any_file_is_found(good: Path, copy: Path) -> None:
    rng = random.Random(11)
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        places = {0, len(whole) - 1} | {rng.randrange(len(whole)) for _ in range(20)}
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            with pytest.raises(CorruptArtifact, match=path.name):
                Snapshot.open(copy)
        path.write_bytes(whole)
    assert Snapshot.open(copy).version == Snapshot.open(good).version


@pytest.mark.parametrize("verify", ["full", "size"])
def test_a_truncated_grown_or_missing_file_is_found(copy: Path, verify: str) -> None:
    rng = random.Random(12)
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        for content in (whole[: rng.randrange(len(whole))], whole[:-1], whole + b"\0", None):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(CorruptArtifact, match=path.name):
                Snapshot.open(copy, verify)  # type: ignore[arg-type]
        path.write_bytes(whole)
    Snapshot.open(copy, verify)  # type: ignore[arg-type]


def test_another_schema_is_refused(copy: Path) -> None:
    manifest = Snapshot.open(copy).manifest
    (copy / "manifest.json").write_bytes(encode(msgspec.structs.replace(manifest, schema=2)))
    with pytest.raises(CorruptArtifact, match=r"manifest.json .*schema must be 1, got 2"):
        Snapshot.open(copy)


def test_numbers_that_do_not_fit_each_other_are_refused(copy: Path) -> None:
    """A manifest with a right checksum over wrong numbers, as another tool might write it."""
    manifest = Snapshot.open(copy).manifest
    for change in (
        {"n_members": 399},
        {"feature_names": manifest.feature_names[1:]},
        {"n_sends": manifest.n_sends + 1},
        {"attribute_types": {**manifest.attribute_types, "recency": "Int8"}},
    ):
        (copy / "manifest.json").write_bytes(encode(msgspec.structs.replace(manifest, **change)))
        with pytest.raises(CorruptArtifact, match="must hold"):
            Snapshot.open(copy)


def test_a_zone_that_is_unknown_here_is_named(copy: Path) -> None:
    manifest = Snapshot.open(copy).manifest
    zones = ("Mars/Base", *manifest.zones[1:])
    (copy / "manifest.json").write_bytes(encode(msgspec.structs.replace(manifest, zones=zones)))
    with pytest.raises(NotReady, match=r"'Mars/Base' .* is not known here"):
        Snapshot.open(copy)


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match=r"manifest.json .*cannot be read"):
        Snapshot.open(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match=r"not a snapshot's manifest"):
        Snapshot.open(tmp_path)
    with pytest.raises(ValueError, match="verify must be"):
        Snapshot.open(tmp_path, "quick")  # type: ignore[arg-type]


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from small_members import spec
from decider.members import build_snapshot
out = Path(sys.argv[1])
def progress(stage, done, total):
    if (stage, done) == ({stage!r}, {done}):
        os.kill(os.getpid(), signal.SIGKILL)
build_snapshot(out / "members.parquet", spec(), out / "snapshot", progress)
"""


@pytest.mark.parametrize(("stage", "done"), [("members", 400), ("attributes", 0), ("checksums", 3)])
def test_a_killed_build_leaves_no_half_snapshot(tmp_path: Path, stage: str, done: int) -> None:
    members(400).write_parquet(tmp_path / "members.parquet")
    code = textwrap.dedent(KILLED).format(here=str(Path(__file__).parent), stage=stage, done=done)
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, check=False, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "snapshot").exists()
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".snapshot.partial-")]
    assert len(left) == 1, "the build was killed half-way"
    # The next build cleans up and succeeds.
    assert built(tmp_path, members(400)).n_members == 400
    assert not left[0].exists()


BOUNDED = """
import resource, sys
from decider.members import SnapshotSpec, build_snapshot
features = tuple(f"f{i}" for i in range(40))
spec = SnapshotSpec(id="member_id", features=features, attributes=("f0",))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
build_snapshot(sys.argv[1] + "/small.parquet", spec, sys.argv[1] + "/small")
before = peak()
build_snapshot(sys.argv[1] + "/large.parquet", spec, sys.argv[1] + "/large")
print(before, peak())
"""


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """200,000 members of 320 bytes are 61 MiB of numbers; a build must not hold several times that.

    The small table warms up everything (imports, compiled hashes, thread pools), so that the difference is
    what the larger table takes.
    """
    rng = np.random.default_rng(5)
    n_members = 200_000
    table = pl.DataFrame(
        {"member_id": np.arange(n_members)} | {f"f{i}": rng.random(n_members) for i in range(40)}
    )
    table.write_parquet(tmp_path / "large.parquet", row_group_size=10_000)
    table[:1_000].write_parquet(tmp_path / "small.parquet")
    del table
    environment = os.environ | {"PYTHONPATH": str(SRC), "POLARS_MAX_THREADS": "2"}
    ended = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(tmp_path)],
        env=environment, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    before, after = map(int, ended.stdout.split())
    assert after - before < 60, f"the build took {after - before} MiB more than the small one's {before} MiB"


def test_consent_in_the_order_of_a_catalog(tmp_path: Path) -> None:
    snapshot = built(tmp_path, members(50))
    assert snapshot.consent_by(("email", "sms")) is snapshot.consent
    turned = snapshot.consent_by(("in_app", "email"))
    assert turned.tolist() == [1 + 2 * (int(bits) & 1) for bits in snapshot.consent]
    with pytest.raises(UnknownName, match=r"email, sms, in_app, got 'push'"):
        snapshot.consent_by(("email", "push"))


def test_rows_outside_are_refused(tmp_path: Path) -> None:
    snapshot = built(tmp_path, members(50))
    for rows in ([-1], [50]):
        with pytest.raises(IndexError, match=r"rows must be in \[0, 50\)"):
            snapshot.attributes(np.array(rows))
        with pytest.raises(IndexError):
            snapshot.ids(np.array(rows))
    assert len(snapshot.attributes(np.zeros(0, np.int64))) == 0
    assert snapshot.attributes(np.zeros(0, np.int64)).columns == snapshot.attributes().columns


def test_ids_of_the_other_type_are_refused(tmp_path: Path) -> None:
    numbers, texts = built(tmp_path / "a", members(50)), built(tmp_path / "b", members(50, text_ids=True))
    for ids, message in [
        (["1"], r"member_ids\[0\] must be int64, as in this snapshot, got '1'"),
        ([1, "2"], r"member_ids\[1\] must be int64"),
        ([1, True], r"member_ids\[1\] must be int64"),
        ([1, 2.0], r"member_ids\[1\] must be int64"),
        ([1, None], r"member_ids\[1\] must be int64"),
        ([1, 2**63], r"member_ids\[1\] must fit int64"),
        (np.array([1.0]), r"member_ids must be int64, as in this snapshot, got 'float64'"),
        (np.array(["1"]), r"member_ids must be int64"),
        (np.array([2**64 - 1], np.uint64), r"member_ids must fit int64"),
        (pl.Series([1, None]), r"member_ids\[1\] must not be null"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            numbers.rows_of(ids)
    for ids, message in [
        ([1], r"member_ids\[0\] must be strings, as in this snapshot, got 1"),
        (["a", None], r"member_ids\[1\] must be strings"),
        (np.array([1]), r"member_ids must be strings, as in this snapshot, got 'int64'"),
        (pl.Series([1]), r"member_ids must be strings"),
        (pl.Series(["a", None]), r"member_ids\[1\] must not be null"),
        (["\ud800"], r"member_ids must be valid Unicode"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            texts.rows_of(ids)


def test_a_build_at_work_is_not_cleaned_away(tmp_path: Path) -> None:
    """A second build to the same place leaves the directory of the first alone."""
    table = members(400)
    table.write_parquet(tmp_path / "members.parquet")
    others: list[str] = []

    def build_another(stage: str, done: int, total: int | None) -> None:
        if (stage, done) == ("ids", 0) and not others:
            others.append("built")
            built(tmp_path, table)

    build_snapshot(tmp_path / "members.parquet", spec(), tmp_path / "snapshot", build_another, replace=True)
    assert others == ["built"]
    assert Snapshot.open(tmp_path / "snapshot").n_members == 400


def test_opening_does_not_read_when_only_sizes_count(copy: Path) -> None:
    """A changed byte passes with `size`: it is for processes that start after one that read it all."""
    features = bytearray((copy / "features.f32").read_bytes())
    features[5] ^= 1
    (copy / "features.f32").write_bytes(features)
    assert Snapshot.open(copy, "size").n_members == 400
