"""Rules admit the members they say, one row at a time, or are refused with the reason."""

from __future__ import annotations

from typing import Any

import naive_catalog as naive
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider.catalog import Catalog, audience_mask, check_catalog, live, parse_catalog, priorities, quiet
from decider.catalog.rules import ALLOWED_FUNCTIONS, expression_fault
from decider.errors import InvalidInput
from decider_core.reasons import NOT_LIVE

PROFILE = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SCHEMA: dict[str, pl.DataType] = {
    "age": pl.Int64(),
    "country": pl.String(),
    "watched_season_1": pl.Boolean(),
    "watched_season_2": pl.Boolean(),
    "affinity": pl.Float64(),
    "born": pl.Date(),
    "genres": pl.List(pl.String()),
}


def catalog_of(*messages: str, channels: int = 1) -> Catalog:
    """A catalog with the given TOML lines in each message."""
    names = [f"c{i}" for i in range(channels)]
    text = 'name = "x"\n' + "".join(f'[[channels]]\nname = "{name}"\n' for name in names)
    for i, lines in enumerate(messages):
        text += f'[[messages]]\nid = "m{i}"\ntype = "t"\nchannels = {names}\n{lines}\n'
    return parse_catalog(text)


def members(n_members: int, seed: int = 1) -> pl.DataFrame:
    """Members with nulls in every column."""
    rng = np.random.default_rng(seed)

    def column(values: list[Any], dtype: pl.DataType) -> pl.Series:
        picked = rng.integers(0, len(values) + 1, n_members)
        return pl.Series([values[i] if i < len(values) else None for i in picked], dtype=dtype)

    return pl.DataFrame(
        {
            "age": column([-3, 0, 1, 18, 44], SCHEMA["age"]),
            "country": column(["NL", "us ", "België", ""], SCHEMA["country"]),
            "watched_season_1": column([True, False], SCHEMA["watched_season_1"]),
            "watched_season_2": column([True, False], SCHEMA["watched_season_2"]),
            "affinity": column([0.25, -1.5, 3.0, 0.0], SCHEMA["affinity"]),
            "born": pl.Series(rng.integers(0, 20_000, n_members)).cast(pl.Date),
            "genres": column([["kids", "drama"], [], ["news"]], SCHEMA["genres"]),
        }
    )


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.none() | st.integers(-5, 50),
            "country": st.none() | st.sampled_from(["NL", "US"]),
            "watched_season_1": st.none() | st.booleans(),
            "watched_season_2": st.none() | st.booleans(),
        }
    ),
    max_size=20,
)


@PROFILE
@given(rows=ROWS, n_channels=st.sampled_from([1, 9, 40]))
def test_masks_say_what_the_rules_say(rows: list[dict[str, Any]], n_channels: int) -> None:
    catalog = catalog_of(
        "",
        'audience = "watched_season_1 AND NOT watched_season_2"',
        "audience = \"age >= 18 AND country = 'NL'\"",
        'audience = "watched_season_1 AND NOT watched_season_2"',
        'audience = "FALSE"',
        channels=n_channels,
    )

    def new_season(row: dict[str, Any]) -> bool | None:
        return naive.sql_and(row["watched_season_1"], naive.sql_not(row["watched_season_2"]))

    def grown_up(row: dict[str, Any]) -> bool | None:
        old = None if row["age"] is None else row["age"] >= 18
        return naive.sql_and(old, None if row["country"] is None else row["country"] == "NL")

    frame = pl.DataFrame(rows, schema={name: SCHEMA[name] for name in list(SCHEMA)[:4]})
    by_message = [None, new_season, grown_up, new_season, lambda row: False]
    ref = naive.mask([rule for rule in by_message for _ in range(n_channels)], rows)
    comp = audience_mask(catalog, frame)
    assert comp.dtype == np.uint64
    assert comp.tolist() == ref


EXPRESSIONS = [
    "ABS(affinity) > 1", "CEIL(affinity) = 1", "FLOOR(affinity) < 0", "ROUND(affinity, 1) > 0",
    "SIGN(affinity) > 0", "SQRT(ABS(affinity)) > 1", "CBRT(affinity) > 1", "LN(age + 5) > 1",
    "LOG(age + 5, 2) > 1", "LOG2(age + 5) > 1", "LOG10(age + 5) > 1", "LOG1P(age + 5) > 1",
    "EXP(affinity) > 1", "SIN(affinity) > 0", "COS(affinity) > 0", "TAN(affinity) > 0",
    "ASIN(affinity) > 0", "ACOS(affinity) > 0", "ATAN(affinity) > 0", "ATAN2(affinity, age) > 0",
    "COT(affinity) > 0", "DEGREES(affinity) > 1", "RADIANS(affinity) > 1", "MOD(age, 2) = 0",
    "DIV(age, 2) = 0", "POW(affinity, 2) > 1", "POWER(affinity, 2) > 1", "COALESCE(age, 3) > 2",
    "NULLIF(age, 0) > 0", "IFNULL(age, 9) > 8", "GREATEST(age, 3) > 3", "LEAST(age, 3) < 3",
    "IF(age > 3, TRUE, FALSE)", "LOWER(country) = 'nl'", "UPPER(country) = 'NL'", "INITCAP(country) = 'Nl'",
    "LENGTH(country) > 2", "CHAR_LENGTH(country) > 2", "CHARACTER_LENGTH(country) > 2",
    "OCTET_LENGTH(country) > 6", "LTRIM(country) = 'us'", "RTRIM(country) = 'us'", "TRIM(country) = 'us'",
    "REVERSE(country) = 'LN'", "LEFT(country, 1) = 'N'", "RIGHT(country, 1) = 'L'",
    "SUBSTR(country, 1, 1) = 'N'", "SUBSTRING(country, 1, 1) = 'N'", "STARTS_WITH(country, 'N')",
    "ENDS_WITH(country, 'L')", "REGEXP_LIKE(country, '^[A-Z]+$')", "CONCAT(country, 'x') = 'NLx'",
    "REPLACE(country, 'N', 'M') = 'ML'", "STRPOS(country, 'L') = 2", "POSITION('L' IN country) = 2",
    "SPLIT_PART(country, 'L', 1) = 'N'", "DATE_PART('year', born) > 1990", "EXTRACT(month FROM born) = 3",
    "YEAR(born) > 1990", "MONTH(born) = 3", "DAY(born) = 3", "STRFTIME(born, '%Y') = '1990'",
    "ARRAY_CONTAINS(genres, 'kids')", "ARRAY_LENGTH(genres) > 1", "CEILING(affinity) = 1",
    "CASE WHEN age > 3 THEN TRUE ELSE watched_season_1 END", "country IN ('NL', 'BE')",
    "age BETWEEN 1 AND 20", "country LIKE 'N%'", "country ILIKE 'n%'", "country IS NULL", "NOT (age > 3)",
    "age IS DISTINCT FROM 1", "CAST(age AS DOUBLE) > 0.5", "TRY_CAST(country AS INT) > 1",
    "age::double > 0.5", "born > DATE '1990-01-01'", "age / 3 > 1", "age // 3 > 1", "age % 3 = 1", "TRUE",
    "(age > 1) AND (age < 9)", 'age > 3 -- "SUM(age)" is a comment', "country = 'SUM(age) OVER'",
    '"age" > 3',
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_member_s_answer_does_not_depend_on_the_others(expression: str) -> None:
    assert expression_fault(expression) is None
    catalog = catalog_of(f"audience = '''{expression}'''")
    assert check_catalog(catalog, SCHEMA) == []
    frame = members(60)
    whole = audience_mask(catalog, frame)
    ones = np.concatenate([audience_mask(catalog, frame[i : i + 1]) for i in range(len(frame))], axis=1)
    np.testing.assert_array_equal(ones, whole)
    np.testing.assert_array_equal(audience_mask(catalog, frame[::-1]), whole[:, ::-1])
    assert audience_mask(catalog, frame[:0]).shape == (1, 0)


def test_every_allowed_function_is_tried() -> None:
    tried = " ".join(EXPRESSIONS).upper()
    assert [name for name in sorted(ALLOWED_FUNCTIONS) if f"{name}(" not in tried] == []


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("age > AVG(age)", "AVG is not one of"),
        ("SUM(age) OVER (PARTITION BY country) > 3", "SUM is not one of"),
        ("ROW_NUMBER() OVER (ORDER BY age) < 3", "ROW_NUMBER is not one of"),
        ("LAG(age) OVER (ORDER BY age) > 2", "LAG is not one of"),
        ("COUNT(*) > 2", "COUNT is not one of"),
        ("FIRST(age) > 1", "FIRST is not one of"),
        ("max (age) > 1", "MAX is not one of"),
        ("max/* */(age) > 1", "MAX is not one of"),
        ('"max"(age) > 1', "must write functions without quotes"),
        ("EXISTS (SELECT 1)", "EXISTS is not allowed"),
        ("age > (SELECT 3)", "SELECT is not allowed"),
        ("age = ANY(genres)", "ANY is not allowed"),
        ("UNNEST(genres) = 'kids'", "UNNEST is not allowed"),
        ("born < CURRENT_DATE", "CURRENT_DATE is not allowed"),
        ("born < NOW()", "NOW is not one of"),
        ("RANDOM() > 0.5", "RANDOM is not one of"),
        ("COLUMNS('a.*') > 2", "COLUMNS is not allowed"),
        ('"^a.*$" > 2', "not several columns"),
        ("foo(age) > 1", "FOO is not one of"),
        ("", "must be a Polars SQL expression"),
        ("age > 3; DROP", "must be a Polars SQL expression"),
        ("age >", "must be a Polars SQL expression"),
        ("*", "must be a Polars SQL expression"),
    ],
)
def test_a_rule_on_more_than_the_own_row_is_refused(expression: str, what: str) -> None:
    assert what in str(expression_fault(expression))
    with pytest.raises(InvalidInput) as caught:
        catalog_of(f"audience = '''{expression}'''")
    assert caught.value.violations[0].field == "messages[0].audience"
    assert "'m0'" in str(caught.value)
    assert repr(expression) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'audience = "watched_seson_1 AND age > 3"',
            r"messages\[0\].audience of 'm0' reads the unknown column 'watched_seson_1'; "
            r"did you mean 'watched_season_1' or 'watched_season_2'\?, got 'watched_seson_1 AND age > 3'",
        ),
        ('audience = "zzz > 1"', r"reads the unknown column 'zzz', got"),
        ('audience = "age"', r"must be boolean, not Int64"),
        (
            'audience = "country > 3"',
            r"must fit the types of its columns: cannot compare string with numeric",
        ),
        ('audience = "age + country > 3"', r"must fit the types of its columns: "),
        ('priority = "country"', r"messages\[0\].priority of 'm0' must be a number, not String"),
        ('priority = "affinty"', r"reads the unknown column 'affinty'; did you mean 'affinity'"),
    ],
)
def test_a_rule_that_does_not_fit_the_members_is_named(line: str, message: str) -> None:
    catalog = catalog_of(line)
    [problem] = check_catalog(catalog, SCHEMA)
    assert problem.message == "m0"
    assert problem.expression in line
    apply = audience_mask if line.startswith("audience") else priorities
    with pytest.raises(InvalidInput, match=message):
        apply(catalog, members(20))


def test_a_rule_that_fails_on_a_value_is_named() -> None:
    catalog = catalog_of('audience = "age > 3"', 'audience = "CAST(country AS INT) > 3"')
    with pytest.raises(
        InvalidInput, match=r"messages\[1\].audience of 'm1' must hold for every member's values"
    ):
        audience_mask(catalog, members(30))


def test_problems_without_a_schema_are_none_in_a_loaded_catalog() -> None:
    assert check_catalog(catalog_of('audience = "anything > 3"')) == []


def test_priorities() -> None:
    catalog = catalog_of("priority = 2.5", 'priority = "12 - COALESCE(age, 0)"', "", channels=2)
    frame = members(40)
    comp = priorities(catalog, frame)
    age = [12.0 - (value or 0) for value in frame["age"]]
    assert comp.dtype == np.float32
    assert comp.tolist() == [[2.5] * 40, [2.5] * 40, age, age, [1.0] * 40, [1.0] * 40]


@pytest.mark.parametrize(
    ("priority", "value"), [("age", "None"), ("1 / affinity", "inf"), ("LN(affinity)", "nan")]
)
def test_a_priority_that_is_no_number_for_somebody_is_refused(priority: str, value: str) -> None:
    frame = pl.DataFrame({"age": [1, 2, None], "affinity": [1.0, 2.0, 0.0 if value == "inf" else -1.0]})
    with pytest.raises(InvalidInput, match=rf"messages\[0\].priority of 'm0' .*got {value} at row 2"):
        priorities(catalog_of(f'priority = "{priority}"'), frame)


def test_inputs_are_left_alone() -> None:
    frame = members(30)
    before = frame.clone()
    catalog = catalog_of('audience = "age > 3"', 'priority = "COALESCE(age, 0)"')
    audience_mask(catalog, frame)
    priorities(catalog, frame)
    assert frame.equals(before)


def test_live_is_closed_at_its_start_and_open_at_its_end() -> None:
    catalog = catalog_of(
        "valid_from = 1970-01-01T00:00:01Z\nvalid_until = 1970-01-01T00:00:02Z", "", channels=2
    )
    for time_micros, expected in [(999_999, NOT_LIVE), (1_000_000, 0), (1_999_999, 0), (2_000_000, NOT_LIVE)]:
        out = live(catalog, time_micros)
        assert out.tolist() == [expected, expected, 0, 0]
        assert out.dtype == np.uint8


@pytest.mark.parametrize("hours", ["22:00-08:00", "09:30-17:00", "00:00-00:01", "23:59-00:00", "12:00-11:59"])
def test_quiet_hours_round_the_clock(hours: str) -> None:
    text = f'name = "x"\n[[channels]]\nname = "a"\n[[channels]]\nname = "b"\nquiet_hours = "{hours}"\n'
    catalog = parse_catalog(text + '[[messages]]\nid = "m"\ntype = "t"\nchannels = ["a"]')
    comp = quiet(catalog, np.arange(24 * 60, dtype=np.int16))
    assert comp.dtype == np.uint8
    assert comp.tolist() == [[0] * 1440, [int(naive.is_quiet(hours, minute)) for minute in range(1440)]]
