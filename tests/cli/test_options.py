"""Text of options to values."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from decider.cli.options import configuration, micros_of, moment, pairs, rfc3339, share_of
from decider.errors import InvalidInput


def test_pairs_split_at_the_first_sign() -> None:
    assert pairs("type", ["a=b=c", "Mens E-Mail=mens"]) == {"a": "b=c", "Mens E-Mail": "mens"}


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a="], ["a=1", "a=2"]])
def test_pairs_refuse(texts: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"type must"):
        pairs("type", texts)


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("0.25", 0.25), ("0%", 0.0), ("100%", 1.0)])
def test_share(text: str, share: float) -> None:
    assert share_of("volume", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "half", "101%", "-1%", "nan", "1.5"])
def test_share_refuses(text: str) -> None:
    with pytest.raises(InvalidInput, match="volume must be a share"):
        share_of("volume", text)


def test_times() -> None:
    time = moment("time", "2026-01-05T10:00:00.25+01:00")
    assert micros_of(time) == 1_767_603_600_250_000
    assert rfc3339(micros_of(time)) == "2026-01-05T09:00:00.250000Z"
    assert moment("time", None).tzinfo is datetime.UTC


@pytest.mark.parametrize("text", ["tomorrow", "2026-01-05T10:00:00", "2026-13-05T10:00:00Z"])
def test_times_refuse(text: str) -> None:
    with pytest.raises(InvalidInput, match="time must be an RFC 3339 time with a zone"):
        moment("time", text)


def test_configuration_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert configuration(None).listen == "127.0.0.1:50051"
    (tmp_path / "decider.toml").write_text('listen = "127.0.0.1:7"\n')
    assert configuration(None).listen == "127.0.0.1:7"
