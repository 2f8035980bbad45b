"""Any table of a randomised trial becomes the same feedback; a wrong one is refused by column and row."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from decider import errors
from decider.logbook.feedback import Feedback
from decider.logbook.trial import TrialSpec, import_trial

TABLE = pl.DataFrame(
    {
        "who": [11, 12, 13, 14],
        "arm": ["a", "none", "b", "a"],
        "visit": [1, 0, 1, 0],
        "spend": [1.5, 0.0, 2.0, 0.25],
        "age": [30, 40, 50, 60],
        "new": [True, False, True, True],
        "town": ["Rome", "Oslo", "Rome", "Lima"],
        "p": [0.25, 0.5, 0.25, 0.25],
        "pa": [0.25, 0.2, 0.5, 0.25],
        "pb": [0.25, 0.3, 0.25, 0.25],
        "pn": [0.5, 0.5, 0.25, 0.5],
    }
)
SPEC = TrialSpec(
    arm="arm",
    control="none",
    rewards=["visit", "spend"],
    features=["age", "new"],
    categories=["town"],
    shares="uniform",
    member_id="who",
)
BY_ARM = {"a": "pa", "b": "pb", "none": "pn"}


def changed(**changes: object) -> TrialSpec:
    return msgspec.structs.replace(SPEC, **changes)


def imported(tmp_path: Path, table: pl.DataFrame, spec: TrialSpec) -> Feedback:
    table.write_parquet(tmp_path / "table.parquet")
    return import_trial(tmp_path / "table.parquet", spec, tmp_path / "out")


def test_trial_in_every_format_is_the_same_feedback(tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "t.csv")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    TABLE.write_parquet(tmp_path / "t.parquet")
    TABLE.write_ipc(tmp_path / "t.arrow")
    frames = []
    for name in ("t.csv", "t.csv.gz", "t.parquet", "t.arrow"):
        made = import_trial(tmp_path / name, SPEC, tmp_path / f"out-{name}")
        opened = Feedback.open(tmp_path / f"out-{name}")
        assert opened.version == made.version
        frames.append(opened.read())
    assert all(frame.equals(frames[0]) for frame in frames)
    assert opened.arms == ("none", "a", "b")
    assert opened.control == "none"
    assert opened.rewards == ("visit", "spend")
    assert opened.feature_names == ("age", "new", "town=Lima", "town=Oslo", "town=Rome")
    assert opened.n_rows == 4
    assert opened.columns == frames[0].columns
    third = 1 / 3
    assert frames[0].row(2) == (13, "b", third, third, third, third, 1.0, 2.0, 50.0, 1.0, 0.0, 0.0, 1.0)
    assert dict(frames[0].schema)["x:age"] == pl.Float32
    assert dict(frames[0].schema)["y:visit"] == pl.Float64
    assert opened.facts["n_by_arm"] == {"none": 1, "a": 2, "b": 1}
    assert opened.facts["levels:town"] == ["Lima", "Oslo", "Rome"]


def test_shares_of_the_design(tmp_path: Path) -> None:
    frame = imported(tmp_path, TABLE, changed(shares={"a": 0.5, "b": 0.2, "none": 0.3})).read()
    assert frame["propensity"].to_list() == [0.5, 0.3, 0.2, 0.5]
    assert frame.select("p:none", "p:a", "p:b").row(1) == (0.3, 0.5, 0.2)


def test_propensity_of_the_arm_taken_leaves_the_others_unknown(tmp_path: Path) -> None:
    frame = imported(tmp_path, TABLE, changed(shares=None, propensity="p")).read()
    assert frame["propensity"].to_list() == [0.25, 0.5, 0.25, 0.25]
    assert frame.select("p:none", "p:a", "p:b").rows()[:2] == [(None, 0.25, None), (0.5, None, None)]


def test_two_arms_know_each_other(tmp_path: Path) -> None:
    two = TABLE.filter(pl.col("arm") != "b")
    frame = imported(tmp_path, two, changed(shares=None, propensity="p")).read()
    assert frame.select("p:none", "p:a").rows() == [(0.75, 0.25), (0.5, 0.5), (0.75, 0.25)]


def test_propensity_of_every_arm(tmp_path: Path) -> None:
    frame = imported(tmp_path, TABLE, changed(shares=None, propensity=BY_ARM)).read()
    assert frame["propensity"].to_list() == [0.25, 0.5, 0.25, 0.25]
    assert frame.select("p:none", "p:a", "p:b").row(1) == (0.5, 0.2, 0.3)


def test_rows_that_were_not_randomised_are_left_out_and_counted(tmp_path: Path) -> None:
    feedback = imported(tmp_path, TABLE, changed(rows="age <> 40 OR town = 'Oslo'", member_id=None))
    assert feedback.facts["n_left_out"] == 0
    table = pl.concat([TABLE[:1].with_columns(age=pl.lit(None, pl.Int64)), TABLE])
    table.write_parquet(tmp_path / "more.parquet")
    spec = changed(rows="age > 0", member_id=None)
    feedback = import_trial(tmp_path / "more.parquet", spec, tmp_path / "second")
    assert (feedback.facts["n_read"], feedback.facts["n_left_out"]) == (5, 1)
    # The number of the row in the source, whatever was left out before it.
    assert feedback.read(["member_id"])["member_id"].to_list() == [1, 2, 3, 4]


def test_constant_feature_is_kept_and_told(tmp_path: Path) -> None:
    feedback = imported(tmp_path, TABLE.with_columns(age=7), SPEC)
    assert feedback.facts["warnings"] == ["feature age is constant: 7.0"]
    assert "age" in feedback.feature_names


def test_string_members_and_integer_arms(tmp_path: Path) -> None:
    table = TABLE.with_columns(pl.col("who").cast(pl.String), arm=pl.Series([1, 0, 2, 1]))
    feedback = imported(tmp_path, table, changed(control=0))
    assert feedback.arms == ("0", "1", "2")
    assert feedback.read(["member_id"])["member_id"].to_list() == ["11", "12", "13", "14"]


def with_value(name: str, value: object) -> pl.DataFrame:
    values = TABLE[name].to_list()
    values[2] = value
    return TABLE.with_columns(pl.Series(name, values, strict=False))


@pytest.mark.parametrize(
    ("table", "changes", "error", "match"),
    [
        (TABLE, {"arm": "amr"}, errors.UnknownName, "arm must name a column, got 'amr': did you mean arm"),
        (TABLE, {"rewards": ["vist"]}, errors.UnknownName, "rewards .* 'vist': did you mean visit"),
        (TABLE, {"features": ["zzz"]}, errors.UnknownName, "features .* 'zzz': there are who, arm, visit"),
        (TABLE, {"control": "nobody"}, errors.UnknownName, r"control .* \['a', 'b', 'none'\], got 'nobody'"),
        (TABLE, {"rewards": []}, errors.InvalidInput, "rewards must name at least one column"),
        (TABLE, {"features": [], "categories": []}, errors.InvalidInput, "features must name at least one"),
        (TABLE, {"features": ["age", "spend"]}, errors.InvalidInput, "'spend', which is in rewards too"),
        (TABLE, {"features": ["age", "age"]}, errors.InvalidInput, "'age', which is in features too"),
        (TABLE, {"propensity": "p"}, errors.InvalidInput, "shares must be given exactly where"),
        (TABLE, {"shares": None}, errors.InvalidInput, "shares must be given exactly where"),
        (TABLE, {"shares": {"a": 0.5, "b": 0.5}}, errors.InvalidInput, r"shares .* \['none'\] are missing"),
        (TABLE, {"shares": {"a": 0.25, "b": 0.25, "none": 0.25, "c": 0.25}}, errors.UnknownName,
         "shares must name arms that have rows, .* got 'c'"),
        (TABLE, {"shares": {"a": 0.5, "b": 0.2, "none": 0.3 + 2e-9}}, errors.InvalidInput, "must sum to"),
        (TABLE, {"shares": {"a": 0.5, "b": 0.5, "none": 0.0}}, errors.InvalidInput,
         r"shares\.none must be in \(0, 1\], got 0\.0"),
        (TABLE, {"shares": {"a": 0.5, "b": float("nan"), "none": 0.5}}, errors.InvalidInput,
         r"shares\.b must be in \(0, 1\], got nan"),
        (with_value("p", 0.0), {"shares": None, "propensity": "p"}, errors.InvalidInput,
         r"propensity must be in \(0, 1\], got 0\.0 at row 2"),
        (with_value("p", 1.25), {"shares": None, "propensity": "p"}, errors.InvalidInput, r"got 1\.25 at"),
        (with_value("p", None), {"shares": None, "propensity": "p"}, errors.InvalidInput, "p must not be"),
        (with_value("pa", 0.4), {"shares": None, "propensity": BY_ARM}, errors.InvalidInput,
         r"propensity must sum to 1 within 1e-09, got 0\.9 at row 2"),
        (with_value("pa", -0.1), {"shares": None, "propensity": BY_ARM}, errors.InvalidInput,
         r"pa must be in \[0, 1\], got -0\.1 at row 2"),
        (with_value("spend", float("nan")), {}, errors.InvalidInput, "spend must be finite, got nan at"),
        (with_value("visit", None), {}, errors.InvalidInput, r"visit must not be missing, got None at"),
        (with_value("age", float("inf")), {}, errors.InvalidInput, "age must be finite, got inf at row 2"),
        (with_value("age", 1e39), {}, errors.InvalidInput, "age must fit a 32-bit float"),
        (with_value("town", None), {}, errors.InvalidInput, "town must not be missing, got None at row 2"),
        (TABLE, {"features": ["town"], "categories": []}, errors.InvalidInput,
         r"town must be numeric \(categories take text\), got 'Rome' of type String"),
        (with_value("who", 11), {}, errors.InvalidInput, r"must not be double .* 11 at row 0 \(2 rows"),
        (with_value("who", None), {}, errors.InvalidInput, "member_id must not be missing, got None"),
        (TABLE, {"member_id": "spend", "rewards": ["visit"]}, errors.InvalidInput, "must be integers or"),
        (with_value("arm", None), {}, errors.InvalidInput, "arm must not be missing, got None at row 2"),
        (TABLE.with_columns(arm=pl.lit("none")), {}, errors.InvalidInput, "one value besides the control"),
        (TABLE, {"rows": "age > 100"}, errors.InvalidInput, "rows must leave at least one row"),
        (TABLE, {"rows": "agee > 100"}, errors.InvalidInput, "rows cannot be read.*agee"),
        (TABLE, {"rows": "age >"}, errors.InvalidInput, "rows cannot be read"),
        (TABLE[:0], {}, errors.InvalidInput, "must leave at least one row"),
    ],
)  # fmt: skip
def test_wrong_trial_is_refused(
    tmp_path: Path, table: pl.DataFrame, changes: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=f"(?s){match}"):
        imported(tmp_path, table, changed(**changes))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.parquet"]


def test_source_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="source names no known file"):
        import_trial(tmp_path / "none.csv", SPEC, tmp_path / "out")
    (tmp_path / "t.xlsx").write_bytes(b"")
    with pytest.raises(errors.InvalidInput, match=r"source must end in \.csv"):
        import_trial(tmp_path / "t.xlsx", SPEC, tmp_path / "out")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(errors.InvalidInput, match=r"source cannot be read.*t\.parquet"):
        import_trial(tmp_path / "t.parquet", SPEC, tmp_path / "out")


def test_existing_directory_is_not_touched(tmp_path: Path) -> None:
    imported(tmp_path, TABLE, SPEC)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(errors.Conflict, match="exists already"):
        imported(tmp_path, TABLE, SPEC)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("name", ["manifest.json", "part-000000.parquet"])
@pytest.mark.parametrize("damage", ["remove", "truncate", "flip", "empty"])
def test_damaged_feedback_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    imported(tmp_path, TABLE, SPEC)
    path = tmp_path / "out" / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        # Inside a name in the manifest, inside the data of the part: both still parse.
        content[content.index(b"spend") if name.endswith("json") else len(content) // 2] ^= 1
    path.unlink()
    if damage != "remove":
        path.write_bytes({"truncate": content[:-9], "flip": content, "empty": b""}[damage])
    with pytest.raises(errors.CorruptArtifact, match=name):
        Feedback.open(tmp_path / "out")


def test_every_flipped_bit_of_the_manifest_is_refused(tmp_path: Path) -> None:
    imported(tmp_path, TABLE, SPEC)
    path = tmp_path / "out" / "manifest.json"
    content = path.read_bytes()
    meaning = msgspec.json.decode(content)
    for place in range(0, len(content), 7):
        changed_content = bytearray(content)
        changed_content[place] ^= 1 << (place % 7)
        path.write_bytes(changed_content)
        try:
            same = msgspec.json.decode(changed_content) == meaning
        except (msgspec.DecodeError, UnicodeDecodeError):
            same = False
        if not same:
            with pytest.raises(errors.CorruptArtifact):
                Feedback.open(tmp_path / "out")


def test_other_schema_is_refused_by_name(tmp_path: Path) -> None:
    imported(tmp_path, TABLE, SPEC)
    path = tmp_path / "out" / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(
        errors.CorruptArtifact, match=r"manifest\.json .*must be 'decider.feedback', 1, got .*2"
    ):
        Feedback.open(tmp_path / "out")
    with pytest.raises(errors.NotFound, match="feedback names no known directory"):
        Feedback.open(tmp_path / "none")


def test_unknown_column_is_refused(tmp_path: Path) -> None:
    feedback = imported(tmp_path, TABLE, SPEC)
    with pytest.raises(errors.UnknownName, match=r"columns must be among .*, got 'y:clicks'"):
        feedback.read(["arm", "y:clicks"])


@pytest.mark.real_data
def test_hillstrom_gives_the_published_means(tmp_path: Path, data_dir: Callable[[str], Path]) -> None:
    feedback = import_trial(
        data_dir("hillstrom.csv.gz"),
        TrialSpec(
            arm="segment",
            control="No E-Mail",
            rewards=["visit", "conversion", "spend"],
            features=["recency", "history", "mens", "womens", "newbie"],
            categories=["zip_code", "channel", "history_segment"],
            shares="uniform",
        ),
        tmp_path / "out",
    )
    table = feedback.read().group_by("arm").agg(pl.len(), pl.col("^y:.*$").mean().round(6)).sort("arm")
    assert table.rows() == [
        ("Mens E-Mail", 21_307, 0.182757, 0.012531, 1.422617),
        ("No E-Mail", 21_306, 0.106167, 0.005726, 0.652789),
        ("Womens E-Mail", 21_387, 0.151400, 0.008837, 1.077202),
    ]
    assert feedback.facts["warnings"] == []
    assert len(feedback.feature_names) == 18


@pytest.mark.real_data
def test_heartsteps_is_a_trial_with_many_rows_a_member(
    tmp_path: Path, data_dir: Callable[[str], Path]
) -> None:
    spec = TrialSpec(
        arm="send",
        control=False,
        rewards=["jbsteps30.log"],
        features=["jbsteps30pre.log", "study.day.nogap"],
        categories=["sugg.select.slot"],
        shares={"true": 0.6, "false": 0.4},
        member_id="user",
        repeated=True,
        # Only where the member was available was a push randomised.
        rows="avail",
    )
    source = data_dir("heartsteps_v1.csv.gz")
    feedback = import_trial(source, spec, tmp_path / "out")
    assert feedback.arms == ("false", "true")
    assert (feedback.facts["n_read"], feedback.facts["n_members"]) == (7_540, 37)
    assert feedback.read(["arm"])["arm"].eq("true").mean() == pytest.approx(0.593, abs=5e-4)
    assert feedback.facts["n_left_out"] == 7_540 - feedback.n_rows == 1_479
    with pytest.raises(errors.InvalidInput, match=r"member_id must not be double .* got 1 at row 0"):
        import_trial(source, msgspec.structs.replace(spec, repeated=False), tmp_path / "second")
