"""`decider catalog check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.small_house import CATALOG, N_MEMBERS, done, run, trial

EXAMPLE = Path(__file__).parents[2] / "examples" / "catalog.toml"


def test_the_example_is_right() -> None:
    checked = done("catalog", "check", EXAMPLE)
    assert checked["problems"] == []
    assert {message["type"] for message in checked["messages"]} >= {"new_arrival", "top_picks", "look_ahead"}
    assert {channel["name"] for channel in checked["channels"]} == {"email", "push", "sms", "in_app"}
    assert checked["n_candidates"] == len(checked["candidates"])
    said = run("catalog", "check", EXAMPLE)
    assert said.code == 0
    assert "No problems." in said.out


def test_audiences_are_counted(house: Path) -> None:
    checked = done("catalog", "check", house / "catalog.toml", "--snapshot", house / "snapshot")
    recent = int((trial()["recency"] > 1).sum())
    sizes = {message["id"]: message["audience_size"] for message in checked["messages"]}
    assert sizes == {"mens": N_MEMBERS, "womens": recent}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("recency > 1", "recensy > 1", "'recency'"),
        ("recency > 1", "recency + 1", "boolean"),
        ('name = "email"', 'name = "email"\n\n[[channels]]\nname = "push"', "push"),
    ],
)
def test_what_does_not_fit_the_members(
    house: Path, tmp_path: Path, before: str, after: str, named: str
) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG.replace(before, after))
    answer = run("catalog", "check", path, "--snapshot", house / "snapshot", "--json")
    assert answer.code == 2
    assert len(answer.json["problems"]) == 1
    assert named in answer.json["problems"][0]["what"]
    said = run("catalog", "check", path, "--snapshot", house / "snapshot")
    assert said.code == 2
    assert "1 problem\n" in said.out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CATALOG.replace('id = "mens"', 'id = "womens"'), "womens"),
        (CATALOG.replace('channels = ["email"]', 'channels = ["fax"]'), "fax"),
        (CATALOG.replace("per_decision = 1", "per_decision = 99"), "caps.member.per_decision"),
        (CATALOG.replace("recency > 1", "recency >"), "audience"),
        ("name = ", "TOML"),
    ],
)
def test_what_is_wrong_by_itself(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(text)
    answer = run("catalog", "check", path)
    assert answer.code == 2
    assert named in answer.err + answer.out


def test_no_catalog_there(tmp_path: Path) -> None:
    answer = run("catalog", "check", tmp_path / "none.toml", "--json")
    assert answer.code == 2
    assert answer.error["type"] == "NotFound"
