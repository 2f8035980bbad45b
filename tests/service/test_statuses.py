"""Errors to statuses and back."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from decider.errors import (
    Conflict,
    CorruptArtifact,
    DeciderError,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    Unavailable,
    UnknownName,
    Violation,
)
from decider.service.statuses import error_of, status_of
from decider_core.contracts import ContractError


class Failed(grpc.RpcError):  # type: ignore[misc]
    """A failed call, as grpcio gives it to a client."""

    def __init__(self, status: Any) -> None:
        self._status = rpc_status.to_status(status)

    def code(self) -> grpc.StatusCode:
        return self._status.code

    def details(self) -> str:
        return self._status.details

    def trailing_metadata(self) -> Any:
        return self._status.trailing_metadata


CASES = [
    (InvalidInput.of("price", "must be >= 0", -1), "INVALID_ARGUMENT", InvalidInput),
    (UnknownName([Violation("policy", "must be one of a, b, got 'c'")]), "INVALID_ARGUMENT", UnknownName),
    (NotFound("member_id", "member", 7), "NOT_FOUND", NotFound),
    (Conflict("request_id", "r1"), "ALREADY_EXISTS", Conflict),
    (CorruptArtifact("model/mean.npy", "its checksum is wrong"), "FAILED_PRECONDITION", CorruptArtifact),
    (NotReady("the snapshot is not here"), "FAILED_PRECONDITION", NotReady),
    (Unavailable("the disk is busy"), "UNAVAILABLE", Unavailable),
    (Overloaded("4 batches are under way"), "RESOURCE_EXHAUSTED", Overloaded),
]


@pytest.mark.parametrize(("error", "code", "kind"), CASES, ids=[type(row[0]).__name__ for row in CASES])
def test_an_error_survives_the_wire(error: DeciderError, code: str, kind: type[DeciderError]) -> None:
    status = status_of(error, "Decide")
    back = error_of(Failed(status))
    assert Failed(status).code().name == code
    assert type(back) is kind
    assert str(error) in str(back)
    if isinstance(error, InvalidInput):
        assert isinstance(back, InvalidInput)
        assert back.violations == error.violations


def test_a_broken_contract_of_the_core_is_bad_input() -> None:
    status = status_of(ContractError("mean must be finite, got nan at (0, 1)"), "Decide")
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    (violation,) = bad.field_violations
    assert (violation.field, violation.description) == ("mean", "must be finite, got nan at (0, 1)")


def test_text_that_cannot_be_sent_is_escaped() -> None:
    status = status_of(InvalidInput.of("policy", "must be text", "\udcff"), "Decide")
    assert "udcff" in status.message


def test_an_unexpected_error_shows_nothing_of_itself() -> None:
    status = status_of(KeyError("secret"), "Decide")
    assert "secret" not in status.SerializeToString().decode("latin1")
    assert Failed(status).code() is grpc.StatusCode.INTERNAL
    assert type(error_of(Failed(status))) is DeciderError
