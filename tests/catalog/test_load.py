"""A catalog file becomes candidates and arrays, or is refused by the path of the field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decider.catalog import load_catalog, parse_catalog
from decider.catalog.catalog import ALWAYS_FROM, ALWAYS_UNTIL
from decider.errors import InvalidInput, NotFound
from decider_core.random import hash_string

EXAMPLES = Path(__file__).parents[2] / "examples"
HILLSTROM = Path(__file__).parents[2] / "src" / "decider" / "cli" / "demo" / "hillstrom" / "catalog.toml"

SMALL = """
name = "small"
[caps]
member = { per_decision = 2, count = 5, days = 7 }
topic = { count = 1, days = 2 }
[caps.topics]
"title:b" = { count = 3, days = 0.5 }

[[channels]]
name = "email"
cost = 2.0
cap = { count = 3, days = 7 }
quiet_hours = "22:00-08:00"
[[channels]]
name = "sms"

[[messages]]
id = "a"
type = "news"
channels = ["sms", "email"]
cost = { sms = 9.0 }
weight = 2
suppress = { days = 7, scope = "type" }
[[messages]]
id = "b"
type = "alert"
topic = "title:b"
channels = ["email"]
cost = 0
priority = 3
valid_from = 2026-01-01T00:00:00Z
valid_until = 2026-01-02T00:00:00.000001+01:00
audience = "age > 3"
suppress = { days = 1 }
"""


def test_every_field_arrives() -> None:
    catalog = parse_catalog(SMALL)
    assert [candidate.id for candidate in catalog.candidates] == ["a@sms", "a@email", "b@email"]
    assert [candidate.index for candidate in catalog.candidates] == [0, 1, 2]
    assert catalog.n_candidates == 3
    assert catalog.index_of["b@email"] == 2
    assert catalog.max_messages == 2
    assert catalog.channel_names == ("email", "sms")
    assert catalog.topic_names == ("a", "title:b")
    assert catalog.type_names == ("news", "alert")
    for comp, ref, dtype in [
        (catalog.cost, [9.0, 2.0, 0.0], np.float32),
        (catalog.weight, [2.0, 2.0, 1.0], np.float64),
        (catalog.channel, [1, 0, 0], np.int32),
        (catalog.topic, [0, 0, 1], np.int32),
        (catalog.type, [0, 0, 1], np.int32),
        (catalog.keys, [hash_string(one) for one in ("a@sms", "a@email", "b@email")], np.uint64),
        (catalog.valid_from, [ALWAYS_FROM, ALWAYS_FROM, 1767225600_000000], np.int64),
        (catalog.valid_until, [ALWAYS_UNTIL, ALWAYS_UNTIL, 1767308400_000001], np.int64),
    ]:
        assert comp.tolist() == ref
        assert comp.dtype == dtype
        assert not comp.flags.writeable
    rules = catalog.history_rules
    assert rules.suppress_seconds.tolist() == [604_800, 604_800, 86_400]
    assert rules.suppress_scope.tolist() == [2, 2, 1]
    assert (rules.member_cap, rules.member_window_seconds) == (5, 604_800)
    assert (rules.channel_cap.tolist(), rules.channel_window_seconds.tolist()) == ([3, -1], [604_800, 0])
    assert (rules.topic_cap.tolist(), rules.topic_window_seconds.tolist()) == ([1, 3], [172_800, 43_200])
    assert catalog.longest_window_seconds == 604_800
    assert catalog.text == SMALL
    message = catalog.messages[1]
    assert (message.id, message.title, message.topic, message.priority) == ("b", "b", "title:b", 3.0)


def test_the_version_is_of_the_content_only(tmp_path: Path) -> None:
    catalog = parse_catalog(SMALL)
    assert catalog.version.startswith("sha256:")
    assert len(catalog.version) == len("sha256:") + 16
    path = tmp_path / "somewhere.toml"
    path.write_text("# a comment\n" + SMALL.replace("cost = 2.0", "cost    = 2   # euros"))
    assert load_catalog(path).version == catalog.version
    for old, new in [
        ('"age > 3"', '"age > 4"'),
        ("weight = 2", "weight = 3"),
        ("small", "large"),
        ("22:00", "22:01"),
    ]:
        assert parse_catalog(SMALL.replace(old, new)).version != catalog.version


def test_codes_of_past_sends() -> None:
    catalog = parse_catalog(SMALL)
    vocabulary = [("a", "news", "a", "sms"), ("gone", "news", "title:b", "fax"), ("", "", "", "email")]
    types, topics, channels = catalog.code_tables(vocabulary)
    assert types.tolist() == [0, 0, -1]
    assert topics.tolist() == [0, 1, -1]
    assert channels.tolist() == [1, -1, 0]
    assert types.dtype == topics.dtype == channels.dtype == np.int32
    assert catalog.code_tables([])[0].shape == (0,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', "", r"catalog missing required field `name`"),
        ('name = "small"', 'name = "small"\nnme = 1', r"catalog contains unknown field `nme`"),
        ("weight = 2", "wieght = 2", r"messages\[0\] contains unknown field `wieght`"),
        ('id = "b"', "", r"messages\[1\] missing required field `id`"),
        ('id = "b"', 'id = "a"', r"messages\[1\].id must be unique, got 'a' as in messages\[0\].id"),
        ('id = "b"', 'id = "b@x"', r"messages\[1\].id expected `str` matching regex .*, got 'b@x'"),
        ('id = "b"', "id = 3", r"messages\[1\].id expected `str`, got `int`, got 3"),
        ('name = "sms"', 'name = "email"', r"channels\[1\].name must be unique, got 'email'"),
        ('["email"]', '["emial"]', r"messages\[1\].channels\[0\] must be a channel.*did you mean 'email'"),
        ('["email"]', '["email", "email"]', r"messages\[1\].channels\[1\] must be unique"),
        ('["email"]', "[]", r"messages\[1\].channels expected `array` of length >= 1, got \[\]"),
        ("cost = 2.0", "cost = -1", r"channels\[0\].cost expected `float` >= 0.0, got -1"),
        ("cost = 2.0", "cost = nan", r"channels\[0\].cost expected `float` >= 0.0, got nan"),
        ("cost = 2.0", "cost = inf", r"channels\[0\].cost must be finite, got inf"),
        ("sms = 9.0", "sms = -9.0", r"messages\[0\].cost.* expected `float` >= 0.0"),
        ("sms = 9.0", "fax = 9.0", r"messages\[0\].cost.fax must be a channel of the message, got 'fax'"),
        ("sms = 9.0", "sms = nan", r"messages\[0\].cost.* expected `float` >= 0.0, got .*nan"),
        ("weight = 2", "weight = 0", r"messages\[0\].weight expected `float` > 0.0, got 0"),
        ("weight = 2", "weight = inf", r"messages\[0\].weight must be finite, got inf"),
        ("sms = 9.0", "sms = inf", r"messages\[0\].cost.sms must be finite, got inf"),
        ("weight = 2", "weight = -1.0", r"messages\[0\].weight expected `float` > 0.0, got -1.0"),
        ("weight = 2", "weight = nan", r"messages\[0\].weight expected `float` > 0.0, got nan"),
        ("priority = 3", "priority = inf", r"messages\[1\].priority must be finite, got inf"),
        ("per_decision = 2", "per_decision = 9", r"caps.member.per_decision expected `int` <= 8, got 9"),
        ("per_decision = 2", "per_decision = 0", r"caps.member.per_decision expected `int` >= 1, got 0"),
        ("count = 5, days = 7", "count = 5", r"caps.member must give both count and days or neither"),
        ("count = 5, days = 7", "count = 0, days = 7", r"caps.member.count expected `int` >= 1, got 0"),
        ("count = 5, days = 7", "count = 5, days = nan", r"member.days expected `float` >= 0.0001, got nan"),
        ("count = 3, days = 7", "count = 3, days = 0", r"channels\[0\].cap.days expected `float` >= 0.0001"),
        ('"title:b" = {', '"title:c" = {', r"topics.title:c must be a topic .*did you mean 'title:b'"),
        ("22:00-08:00", "22:00-25:00", r"channels\[0\].quiet_hours expected `str` matching regex"),
        ("22:00-08:00", "08:00-08:00", r"channels\[0\].quiet_hours must start and end at different times"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", r"messages\[1\].valid_from expected .*timezone"),
        ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", r"messages\[1\].valid_until must be after"),
        ('scope = "type"', 'scope = "kind"', r"messages\[0\].suppress.scope invalid enum value 'kind'"),
        ("days = 7, scope", "days = -7, scope", r"messages\[0\].suppress.days expected .* >= 0.0001"),
        ('"age > 3"', '"age >"', r"messages\[1\].audience of 'b' must be a Polars SQL.*got 'age >'"),
        ('"age > 3"', "3", r"messages\[1\].audience expected `str"),
        ("[caps]", "[caps", r"catalog must be valid TOML: .*line"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(old: str, new: str, message: str) -> None:
    assert SMALL.count(old) >= 1
    with pytest.raises(InvalidInput, match=message):
        parse_catalog(SMALL.replace(old, new, 1) if old != 'id = "b"' else SMALL.replace(old, new))


def test_an_empty_catalog_is_refused() -> None:
    for text in ("", 'name = "x"\nchannels = []\nmessages = []'):
        with pytest.raises(InvalidInput):
            parse_catalog(text)
    with pytest.raises(InvalidInput, match=r"messages expected `array` of length >= 1, got \[\]"):
        parse_catalog('name = "x"\nmessages = []\n[[channels]]\nname = "email"')


def test_all_broken_rules_are_named_at_once() -> None:
    text = (
        SMALL.replace('id = "b"', 'id = "a"')
        .replace("weight = 2", "weight = inf")
        .replace("age > 3", "SUM(age)")
    )
    with pytest.raises(InvalidInput) as caught:
        parse_catalog(text)
    assert [violation.field for violation in caught.value.violations] == [
        "messages[1].id",
        "messages[0].weight",
        "messages[1].audience",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="catalog names no known file"):
        load_catalog(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes('name = "caf\xe9"'.encode("latin-1"))
    with pytest.raises(InvalidInput, match="must be UTF-8"):
        load_catalog(tmp_path / "latin.toml")


def test_the_example_catalogs() -> None:
    streaming = load_catalog(EXAMPLES / "catalog.toml")
    assert set(streaming.type_names) == {
        "new_arrival", "recently_added", "new_season", "coming_soon",
        "top_picks", "top_10", "continue_watching", "look_ahead",
    }  # fmt: skip
    assert streaming.channel_names == ("email", "push", "sms", "in_app")
    assert {candidate.channel for candidate in streaming.candidates} == set(streaming.channel_names)
    assert "watched_season_1 AND NOT watched_season_2" in {message.audience for message in streaming.messages}
    shop = load_catalog(HILLSTROM)
    assert [candidate.id for candidate in shop.candidates] == ["mens@email", "womens@email"]
    assert shop.max_messages == 1
