"""A table becomes the arrays that its spec says, or is refused by name."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path
from typing import Any

import naive_members as naive
import numpy as np
import polars as pl
import pytest
from small_members import built, members, sends, spec

from decider.errors import Conflict, InvalidInput, NotFound
from decider.members import SendsSpec, Snapshot, SnapshotSpec, build_snapshot, load_spec


@pytest.mark.parametrize("text_ids", [False, True])
def test_arrays_say_what_the_table_says(tmp_path: Path, text_ids: bool) -> None:
    table = members(text_ids=text_ids)
    snapshot = built(tmp_path, table)
    rows = table.to_dicts()
    levels = ["DE", "NL", "US"]
    assert snapshot.feature_names == ("recency", "n_plays", "new", *(f"country={level}" for level in levels))
    ref = np.array(naive.features(rows, ["recency", "n_plays", "new"], {"country": levels}), np.float32)
    np.testing.assert_array_equal(snapshot.features, ref)
    assert snapshot.channel_names == ("email", "sms", "in_app")
    assert snapshot.consent.tolist() == [row["mail"] + 2 * row["text_ok"] + 4 for row in rows]
    assert [snapshot.zones[code] for code in snapshot.zone] == [row["zone"] for row in rows]
    everyone = np.arange(len(table))
    assert snapshot.ids(everyone).to_list() == [row["member_id"] for row in rows]
    assert snapshot.attributes().equals(table)
    some = np.array([3, 499, 3, 0])
    assert snapshot.attributes(some).equals(table[some])
    assert snapshot.attributes(np.array([7])).equals(table[7])
    assert snapshot.id_type == ("string" if text_ids else "int64")
    assert not snapshot.features.flags.writeable


def test_integer_keys_are_the_ids_and_text_keys_their_hashes(tmp_path: Path) -> None:
    from decider_core.random import hash_string

    table = members(50)
    assert built(tmp_path / "a", table).keys.view(np.int64).tolist() == table["member_id"].to_list()
    table = members(50, text_ids=True)
    assert built(tmp_path / "b", table).keys.tolist() == [hash_string(one) for one in table["member_id"]]


@pytest.mark.parametrize("text_ids", [False, True])
def test_sends_stand_by_member_and_time(tmp_path: Path, text_ids: bool) -> None:
    table = members(60, text_ids=text_ids)
    past = sends(table)
    snapshot = built(tmp_path, table, past)
    offsets, times, codes = snapshot.sends
    ref = naive.sends_by_member(table["member_id"].to_list(), past.to_dicts())
    comp = [
        [(times[i], *snapshot.send_vocabulary[codes[i]]) for i in range(offsets[row], offsets[row + 1])]
        for row in range(len(table))
    ]
    assert comp == ref
    assert snapshot.manifest.n_sends == len(past)


def test_sends_in_small_steps_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = members(60)
    past = sends(table)
    one = built(tmp_path / "a", table, past)
    monkeypatch.setattr("decider.members.sends._STEP", 17)
    other = built(tmp_path / "b", table, past.sample(fraction=1, shuffle=True, seed=3))
    assert one.version == other.version


def test_times_of_sends_may_be_timestamps(tmp_path: Path) -> None:
    table = members(20)
    past = sends(table, 40)
    numbers = built(tmp_path / "a", table, past)
    stamps = past.with_columns(pl.from_epoch("time", "us").dt.replace_time_zone("UTC"))
    assert built(tmp_path / "b", table, stamps).version == numbers.version
    stamps.write_csv(tmp_path / "sends.csv")
    csv = built(tmp_path / "c", table, sends=SendsSpec(path=str(tmp_path / "sends.csv")))
    assert csv.version == numbers.version
    plain = past.with_columns(pl.from_epoch("time", "us").dt.to_string("%Y-%m-%d %H:%M:%S%.6f"))
    assert built(tmp_path / "e", table, plain).version == numbers.version
    with pytest.raises(InvalidInput, match=r"sends.time must be a time, got None at row 0"):
        built(tmp_path / "f", table, plain.with_columns(time=pl.lit("yesterday")))
    local = stamps.with_columns(pl.col("time").dt.convert_time_zone("Asia/Kathmandu"))
    assert built(tmp_path / "d", table, local).version == numbers.version


def test_the_version_is_of_the_content(tmp_path: Path) -> None:
    table = members(50)
    one, again = built(tmp_path / "a", table), built(tmp_path / "b", table)
    assert one.version == again.version
    assert one.version.startswith("sha256:")
    assert len(one.version) == 7 + 16
    changed = table.with_columns(recency=pl.col("recency") * 1.0000002)
    assert built(tmp_path / "c", changed).version != one.version


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    table = members(300)
    table.write_csv(tmp_path / "members.csv")
    (tmp_path / "members.csv.gz").write_bytes(gzip.compress((tmp_path / "members.csv").read_bytes()))
    table.write_ipc(tmp_path / "members.arrow")
    table.write_parquet(tmp_path / "members.parquet")
    table[:100].write_parquet(tmp_path / "first.parquet")
    table[100:].write_parquet(tmp_path / "second.parquet")
    sources = [[tmp_path / f"members.{end}"] for end in ("csv", "csv.gz", "arrow", "parquet")]
    sources.append([tmp_path / "first.parquet", tmp_path / "second.parquet"])
    for i, paths in enumerate(sources):
        build_snapshot(paths, spec(), tmp_path / f"out-{i}")
    first, *others = (Snapshot.open(tmp_path / f"out-{i}") for i in range(len(sources)))
    for other in others:
        # All bytes agree but those of the Arrow file, whose layout of text may follow the source's.
        assert {**other.manifest.files, "attributes.arrow": None} == {
            **first.manifest.files,
            "attributes.arrow": None,
        }
        assert other.attributes().equals(table)


def test_leading_zeros_of_ids_in_csv_are_kept_on_demand(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("member_id,recency\n007,1.5\n7,2.5\n")
    small = SnapshotSpec(id="member_id", id_type="string", features=("recency",))
    build_snapshot(tmp_path / "m.csv", small, tmp_path / "out")
    assert Snapshot.open(tmp_path / "out").ids(np.arange(2)).to_list() == ["007", "7"]


def test_missing_values_are_refused_or_filled_and_counted(tmp_path: Path) -> None:
    table = members(300).with_columns(
        recency=pl.when(pl.int_range(pl.len()) % 100 == 70).then(float("nan")).otherwise("recency"),
        country=pl.when(pl.int_range(pl.len()) % 150 == 99).then(None).otherwise("country"),
        mail=pl.when(pl.int_range(pl.len()) == 150).then(None).otherwise("mail"),
    )
    with pytest.raises(InvalidInput, match=r"recency must not be missing .*, got nan at row 70"):
        built(tmp_path, table)
    with pytest.raises(InvalidInput, match=r"country must not be missing .*, got None at row 99"):
        built(tmp_path, table, missing={"recency": 0.5})
    snapshot = built(tmp_path, table, missing={"recency": 0.5, "country": "??", "mail": False})
    assert snapshot.manifest.filled == {"country": 2, "mail": 1, "recency": 3}
    assert snapshot.features[70, 0] == 0.5
    assert "country=??" in snapshot.feature_names
    assert snapshot.consent[150] & 1 == 0
    # Rules still see what is missing.
    assert snapshot.attributes(np.array([99]))["country"][0] is None


def test_fills_take_the_type_of_their_column(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "member_id": [1, 2, 3],
            "number": [1, None, 3],
            "flag": [True, None, False],
            "ok": [1, None, 0],
            "zone": ["UTC", None, "UTC"],
        }
    )
    table.write_parquet(tmp_path / "m.parquet")
    small = SnapshotSpec(
        id="member_id",
        features=("number", "flag"),
        categories=("number", "flag"),
        consent={"email": "ok"},
        time_zone_column="zone",
        missing={"number": 2, "flag": True, "ok": True, "zone": "Asia/Kathmandu"},
    )
    manifest = build_snapshot(tmp_path / "m.parquet", small, tmp_path / "out")
    snapshot = Snapshot.open(tmp_path / "out")
    assert snapshot.feature_names == (
        "number", "flag", "number=1", "number=2", "number=3", "flag=false", "flag=true",
    )  # fmt: skip
    assert snapshot.features.tolist() == [
        [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        [2.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0],
        [3.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0],
    ]
    assert snapshot.consent.tolist() == [1, 1, 0]
    assert [snapshot.zones[code] for code in snapshot.zone] == ["UTC", "Asia/Kathmandu", "UTC"]
    assert manifest.filled == {"number": 1, "flag": 1, "ok": 1, "zone": 1}


def test_types_of_csv_come_from_the_whole_file(tmp_path: Path) -> None:
    lines = [f"{i},{i % 7}" for i in range(30_000)]
    lines[-1] = "29999,0.5"
    (tmp_path / "m.csv").write_text("member_id,recency\n" + "\n".join(lines) + "\n")
    build_snapshot(tmp_path / "m.csv", SnapshotSpec(id="member_id", features=("recency",)), tmp_path / "out")
    assert Snapshot.open(tmp_path / "out").features[-1, 0] == 0.5


def replaced(column: str, row: int, value: Any) -> pl.DataFrame:
    table = members(300)
    values = table[column].to_list()
    values[row] = value
    return table.with_columns(pl.Series(column, values, strict=False))


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (replaced("recency", 200, float("inf")), {}, r"recency must be finite as float32, got inf at row 2"),
        (replaced("recency", 200, 1e300), {}, r"recency must be finite as float32, got 1e\+300 at row 200"),
        (replaced("text_ok", 130, 2), {}, r"text_ok must be 0 or 1, got 2 at row 130"),
        (replaced("member_id", 5, None), {}, r"member_id must not be null, got None at row 5"),
        (replaced("zone", 9, "Mars/Base"), {}, r"time_zone must be an IANA time zone, got 'Mars/Base'"),
        (replaced("zone", 9, "../etc"), {}, r"time_zone must be an IANA time zone"),
        (members(), {"features": ("recensy",)}, r"features\[0\] must be a column.*; did you mean 'recency'"),
        (members(), {"features": ("country",)}, r"features\[0\] must be numeric or boolean, got String"),
        (members(), {"features": ("new", "new")}, r"features must name a column once, got 'new' 2 times"),
        (members(), {"categories": ("recency",)}, r"categories\[0\] must be text"),
        (members(), {"max_levels": 2}, r"'country' must have at most 2 levels .*got 3"),
        (members(), {"consent": {"email": "recency"}}, r"consent.email must be boolean"),
        (members(), {"consent": {f"c{i}": True for i in range(33)}}, r"at most 32 channels, got 33"),
        (members(), {"id": "recency"}, r"id must be integers or strings, got Float64"),
        (members(), {"id": "country"}, r"country must be unique, got '(NL|US|DE)' at rows \d+ and \d+"),
        (members(), {"id": "n_plays"}, r"n_plays must be unique, got \d+ at rows \d+ and \d+"),
        (members(), {"time_zone": "UTC"}, r"time_zone must not be given together"),
        (members(), {"time_zone": "Nowhere", "time_zone_column": None}, r"IANA time zone, got 'Nowhere'"),
        (members(), {"missing": {"watched": 1.0}}, r"missing.watched must fill a feature"),
        (members(), {"missing": {"recency": "x"}}, r"missing.recency must be numeric or boolean, got 'x'"),
        (members(0), {}, r"source must hold 1 to"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tmp_path: Path, table: pl.DataFrame, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        built(tmp_path, table, **changes)
    assert not (tmp_path / "snapshot").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["members.parquet"]


def test_a_text_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    table = members(300, text_ids=True)
    doubled = table.with_columns(
        member_id=pl.when(pl.int_range(pl.len()) == 222)
        .then(pl.lit(table["member_id"][11]))
        .otherwise("member_id")
    )
    with pytest.raises(InvalidInput, match=r"member_id must be unique, got 'mémber-.*' at rows 11 and 222"):
        built(tmp_path, doubled)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member_id": 999_999}, r"sends.member must be a member, got 999999 at row 40"),
        ({"channel": None}, r"sends.channel must not be null, got None at row 40"),
        ({"time": None}, r"sends.time must be a time, got None at row 40"),
    ],
)
def test_bad_sends_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    table = members(60)
    past = sends(table, 80).to_dicts()
    past[40] |= change
    with pytest.raises(InvalidInput, match=message):
        built(tmp_path, table, pl.DataFrame(past))


def test_sends_to_unknown_members_are_dropped_on_demand_and_counted(tmp_path: Path) -> None:
    table = members(60)
    past = sends(table, 80)
    path = tmp_path / "past.parquet"
    past.with_columns(
        member_id=pl.when(pl.int_range(80) < 3).then(10**6).otherwise("member_id")
    ).write_parquet(path)
    snapshot = built(tmp_path, table, sends=SendsSpec(path=str(path), unknown_members="drop"))
    assert (snapshot.manifest.dropped_sends, snapshot.manifest.n_sends) == (3, 77)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            {"topic": "topick"},
            r"sends.topic must be a column of the table, got 'topick'; did you mean 'topic'",
        ),
        (
            {"time": "flag"},
            r"sends.time must be timestamps, RFC 3339 text or whole microseconds, got Boolean",
        ),
        ({"message": "time"}, r"sends.message must be text, got Int64"),
        ({"member": "topic"}, r"sends.member must be integers, got String"),
    ],
)
def test_columns_of_sends_must_fit(tmp_path: Path, names: dict[str, str], message: str) -> None:
    table = members(20)
    sends(table, 30).with_columns(flag=pl.lit(value=True)).write_parquet(tmp_path / "past.parquet")
    with pytest.raises(InvalidInput, match=message):
        built(tmp_path, table, sends=SendsSpec(path=str(tmp_path / "past.parquet"), **names))


def test_sources_must_be_there_and_of_one_format(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"source names no known file"):
        build_snapshot(tmp_path / "none.parquet", spec(), tmp_path / "out")
    (tmp_path / "a.csv").write_text("member_id\n1\n")
    (tmp_path / "b.txt").write_text("member_id\n1\n")
    members(9).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(InvalidInput, match=r"must end in one of .parquet"):
        build_snapshot(tmp_path / "b.txt", spec(), tmp_path / "out")
    with pytest.raises(InvalidInput, match=r"must be files of one format"):
        build_snapshot([tmp_path / "a.csv", tmp_path / "c.parquet"], spec(), tmp_path / "out")
    with pytest.raises(InvalidInput, match=r"at least one file"):
        build_snapshot([], spec(), tmp_path / "out")
    (tmp_path / "d.parquet").write_bytes((tmp_path / "c.parquet").read_bytes()[:300])
    with pytest.raises(InvalidInput, match=r"source must be readable"):
        build_snapshot(tmp_path / "d.parquet", spec(), tmp_path / "out")


def test_a_snapshot_is_not_overwritten_unasked(tmp_path: Path) -> None:
    first = built(tmp_path, members(50))
    members(60).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(Conflict, match=r"exists already"):
        build_snapshot(tmp_path / "other.parquet", spec(), tmp_path / "snapshot")
    assert Snapshot.open(tmp_path / "snapshot").version == first.version
    build_snapshot(tmp_path / "other.parquet", spec(), tmp_path / "snapshot", replace=True)
    assert Snapshot.open(tmp_path / "snapshot").n_members == 60
    # Whoever has the old one open keeps it.
    assert first.attributes()["recency"].to_list() == members(50)["recency"].to_list()
    assert first.features.shape == (50, 6)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_progress_is_told_and_ends_at_the_total(tmp_path: Path) -> None:
    table = members(300)
    table.write_parquet(tmp_path / "m.parquet")
    told: dict[str, list[tuple[int, int | None]]] = {}
    build_snapshot(
        tmp_path / "m.parquet",
        spec(),
        tmp_path / "out",
        lambda stage, done, total: told.setdefault(stage, []).append((done, total)),
    )
    assert list(told) == ["members", "attributes", "ids", "checksums"]
    for stage in ("members", "attributes", "ids"):
        assert told[stage][-1] == (300, 300)


def test_kept_columns_can_be_chosen(tmp_path: Path) -> None:
    table = members(30).with_columns(
        pl.col("country").cast(pl.Categorical),
        born=pl.lit(datetime.date(2000, 1, 1)),
        tags=pl.lit(["a", "b"]),
    )
    some = built(tmp_path, table, attributes=("country", "born", "tags"))
    assert some.attributes().columns == ["member_id", "country", "born", "tags"]
    assert some.attributes()["country"].to_list() == table["country"].to_list()
    assert built(tmp_path, table, attributes=()).attributes().columns == ["member_id"]


def test_a_spec_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text('id = "member_id"\nfeatures = ["recency"]\n[consent]\nemail = "mail"\npush = true\n')
    assert load_spec(path) == SnapshotSpec(
        id="member_id", features=("recency",), consent={"email": "mail", "push": True}
    )
    for text, message in [
        ("features = []", "missing required field `id`"),
        ('id = "a"\nfeature = ["x"]', "unknown field `feature`"),
        ('id = "a"\nfeatures = [1]', r"features\[0\] Expected `str`"),
        ("id =", "must be valid TOML"),
    ]:
        path.write_text(text)
        with pytest.raises(InvalidInput, match=message):
            load_spec(path)
    with pytest.raises(NotFound):
        load_spec(tmp_path / "none.toml")


def test_the_example_spec_is_valid() -> None:
    example = load_spec(Path(__file__).parents[2] / "examples" / "snapshot.toml")
    assert example.sends is not None
    assert example.consent["in_app"] is True
