from __future__ import annotations

import copy
import pickle

import pytest

from decider.errors import (
    Conflict,
    CorruptArtifact,
    DeciderError,
    InvalidInput,
    NotFound,
    NotReady,
    UnknownName,
    Violation,
)

ERRORS = (
    InvalidInput.of("price", "must be >= 0", -1.0, "at row 3"),
    InvalidInput([Violation("a", "must be 1, got 2"), Violation("b", "must be 3, got 4")]),
    UnknownName([Violation("channel", "must be known, got 'fax'")]),
    NotFound("member_id", "member", 7, "try another"),
    Conflict("request_id", "r"),
    CorruptArtifact("snapshot/ids", "its sha256 must be 1, got 2"),
    NotReady("no model is published"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_crosses_processes_whole(error: DeciderError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_an_error_says_field_rule_value_and_place() -> None:
    assert str(ERRORS[0]) == "price must be >= 0, got -1.0 at row 3"
    assert str(ERRORS[1]) == "a must be 1, got 2; b must be 3, got 4"
    assert str(ERRORS[3]) == "member_id names no known member, got 7: try another"


def test_an_error_without_a_broken_rule_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one broken rule"):
        InvalidInput([])
