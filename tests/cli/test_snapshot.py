"""`decider snapshot`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from decider.members import Snapshot
from tests.cli.small_house import FEATURES, N_MEMBERS, done, run, trial

SPEC = """
id = "member"
features = ["recency", "bought"]
categories = ["zone"]
time_zone = "Europe/Amsterdam"

[consent]
email = true
"""


@pytest.fixture
def members(tmp_path: Path) -> Path:
    path = tmp_path / "members.csv"
    trial(50).write_csv(path)
    return path


def test_build_show_verify(members: Path, tmp_path: Path) -> None:
    out = tmp_path / "snapshot"
    built = done(
        "snapshot", "build", members, "--id", "member", *FEATURES, "--consent", "email=true", "--consent",
        "push=false", "--attribute", "recency", "--time-zone", "Europe/Amsterdam", "--out", out,
    )  # fmt: skip
    opened = Snapshot.open(out)
    assert built["version"] == opened.version
    assert built["members"] == opened.n_members == 50
    assert built["features"] == ["recency", "bought", "zone=north", "zone=south"]
    assert built["channels"] == ["email", "push"]
    assert opened.consent.tolist() == [1] * 50
    assert set(built["attributes"]) == {"member", "recency"}
    assert built["time_zones"] == ["Europe/Amsterdam"]
    assert done("snapshot", "show", out) == built
    verified = done("snapshot", "verify", out)
    assert verified["whole"] is True
    assert verified["bytes"] == built["bytes"]
    assert built["version"] in run("snapshot", "show", out).out


def test_a_spec_file_does_the_same(members: Path, tmp_path: Path) -> None:
    spec = tmp_path / "snapshot.toml"
    spec.write_text(SPEC)
    by_file = done("snapshot", "build", members, "--spec", spec, "--out", tmp_path / "a")
    by_options = done(
        "snapshot", "build", members, "--id", "member", *FEATURES, "--consent", "email=true", "--time-zone",
        "Europe/Amsterdam", "--out", tmp_path / "b",
    )  # fmt: skip
    assert by_file["version"] == by_options["version"]


def test_missing_values_are_refused_or_filled_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "members.parquet"
    pl.DataFrame({"id": ["a", "b", "c"], "x": [1.0, None, 3.0]}).write_parquet(source)
    options = ("snapshot", "build", source, "--id", "id", "--feature", "x")
    refused = run(*options, "--out", tmp_path / "no")
    assert refused.code == 2
    assert "x" in refused.err
    assert not (tmp_path / "no").exists()
    built = done(*options, "--missing", "x=2", "--out", tmp_path / "yes")
    assert built["filled"] == {"x": 1}
    assert built["id_type"] == "string"
    assert Snapshot.open(tmp_path / "yes").features[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_past_sends_come_along(members: Path, tmp_path: Path) -> None:
    sends = tmp_path / "sends.csv"
    sends.write_text(
        "member_id,message,type,topic,channel,time\n1003,hello,greeting,hello,email,2026-01-05T00:00:00Z\n"
    )
    built = done("snapshot", "build", members, "--id", "member", "--sends", sends, "--out", tmp_path / "s")
    assert built["sends"] == 1


def test_nothing_is_replaced_unasked(members: Path, tmp_path: Path) -> None:
    options = ("snapshot", "build", members, "--id", "member", "--out", tmp_path / "s")
    first = done(*options)
    again = run(*options, "--feature", "recency", "--json")
    assert again.code == 2
    assert again.error["type"] == "Conflict"
    assert done("snapshot", "show", tmp_path / "s") == first
    assert done(*options, "--feature", "recency", "--replace")["features"] == ["recency"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--id", "memver"], "did you mean 'member'"),
        (["--id", "member", "--feature", "recensy"], "recency"),
        (["--id", "member", "--feature", "zone"], "zone"),
        (["--id", "zone"], "zone"),
        (["--id", "member", "--consent", "email"], "consent"),
        (["--id", "member", "--consent", "email=recency"], "recency"),
        (["--id", "member", "--time-zone", "Mars/Base"], "Mars/Base"),
        (["--id", "member", "--missing", "recency"], "missing"),
        (["--id", "member", "--id-type", "uuid"], "id_type"),
        (["--id", "member", "--sends", "no.parquet"], "no.parquet"),
        (["--spec", "no.toml"], "no.toml"),
        (["--spec", "no.toml", "--id", "member"], "spec"),
        ([], "id must be given"),
    ],
)
def test_bad_input(members: Path, tmp_path: Path, options: list[str], named: str) -> None:
    answer = run("snapshot", "build", members, *options, "--out", tmp_path / "s")
    assert answer.code == 2, answer.err
    assert named in answer.err
    assert answer.out == ""
    assert not (tmp_path / "s").exists()


def test_sources_must_be_there(tmp_path: Path) -> None:
    answer = run(
        "snapshot", "build", tmp_path / "no.csv", "--id", "member", "--out", tmp_path / "s", "--json"
    )
    assert answer.code == 2
    assert answer.error["type"] == "NotFound"


def test_a_changed_byte_is_found(own_house: Path) -> None:
    features = own_house / "snapshot" / "features.f32"
    data = bytearray(features.read_bytes())
    data[N_MEMBERS] ^= 1
    features.write_bytes(data)
    answer = run("snapshot", "verify", own_house / "snapshot", "--json")
    assert answer.code == 3
    assert answer.error["type"] == "CorruptArtifact"
    assert "features.f32" in answer.error["message"]


def test_no_snapshot_there(tmp_path: Path) -> None:
    for command in ("show", "verify"):
        answer = run("snapshot", command, tmp_path / "none")
        assert answer.code == 3
        assert "manifest.json" in answer.err
