"""Errors become gRPC statuses here, and on the client's side statuses become errors again.

======================  ====================  =============================================
error                   status                details
======================  ====================  =============================================
InvalidInput            INVALID_ARGUMENT      ErrorInfo INVALID_INPUT, BadRequest
UnknownName             INVALID_ARGUMENT      ErrorInfo UNKNOWN_NAME, BadRequest
ContractError (core)    INVALID_ARGUMENT      ErrorInfo INVALID_INPUT, BadRequest
NotFound                NOT_FOUND             ErrorInfo NOT_FOUND, BadRequest, ResourceInfo
Conflict                ALREADY_EXISTS        ErrorInfo CONFLICT, BadRequest, ResourceInfo
CorruptArtifact         FAILED_PRECONDITION   ErrorInfo CORRUPT_ARTIFACT
NotReady                FAILED_PRECONDITION   ErrorInfo NOT_READY
Overloaded              RESOURCE_EXHAUSTED    ErrorInfo OVERLOADED, RetryInfo
Unavailable             UNAVAILABLE           ErrorInfo UNAVAILABLE, RetryInfo
anything else           INTERNAL              ErrorInfo INTERNAL with `error_id`, as logged
======================  ====================  =============================================
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
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
from decider_core.contracts import ContractError

DOMAIN = "decider"

# Trailers beyond 8 KiB are refused by clients: text and details are kept well below, and what is left out
# is counted in ErrorInfo.metadata["violations_left_out"].
_MAX_TEXT_BYTES = 500
_MAX_VIOLATIONS_BYTES = 2_000
_MAX_VIOLATION_BYTES = 400
_RETRY_SECONDS = 0.1

_log = structlog.get_logger(__name__)


def status_of(error: BaseException, method: str) -> status_pb2.Status:
    """The gRPC status that tells a caller of `method` about `error`.

    An error that nobody raised on purpose becomes INTERNAL: it is logged with its traceback under an id, and
    the caller gets the id alone.
    """
    match error:
        case UnknownName():
            return _status(code_pb2.INVALID_ARGUMENT, error, "UNKNOWN_NAME", violations=error.violations)
        case InvalidInput():
            return _status(code_pb2.INVALID_ARGUMENT, error, "INVALID_INPUT", violations=error.violations)
        case ContractError():
            field, _, rule = str(error).partition(" ")
            return _status(
                code_pb2.INVALID_ARGUMENT, error, "INVALID_INPUT", violations=[Violation(field, rule)]
            )
        case NotFound():
            return _status(
                code_pb2.NOT_FOUND,
                error,
                "NOT_FOUND",
                violations=[Violation(error.field, str(error).removeprefix(f"{error.field} "))],
                resource=(error.kind, str(error.name)),
            )
        case Conflict():
            return _status(
                code_pb2.ALREADY_EXISTS,
                error,
                "CONFLICT",
                violations=[Violation(error.field, str(error).removeprefix(f"{error.field} "))],
                resource=(error.field, str(error.value)),
            )
        case CorruptArtifact():
            facts = {"path": error.path, "why": error.why}
            return _status(code_pb2.FAILED_PRECONDITION, error, "CORRUPT_ARTIFACT", facts=facts)
        case NotReady():
            return _status(code_pb2.FAILED_PRECONDITION, error, "NOT_READY")
        case Overloaded():
            return _status(code_pb2.RESOURCE_EXHAUSTED, error, "OVERLOADED", retry=True)
        case Unavailable():
            return _status(code_pb2.UNAVAILABLE, error, "UNAVAILABLE", retry=True)
        case _:
            error_id = uuid.uuid4().hex
            _log.error("unexpected error", error_id=error_id, method=method, exc_info=error)
            hidden = DeciderError(f"an unexpected error, logged with id {error_id}")
            return _status(code_pb2.INTERNAL, hidden, "INTERNAL", facts={"error_id": error_id})


def error_of(error: grpc.RpcError) -> DeciderError:
    """The error that a failed call stands for, with the server's violations: the way back of `status_of`."""
    text = error.details() or error.code().name
    status = rpc_status.from_call(error)
    details = list(status.details) if status is not None else []
    violations = [
        Violation(violation.field, violation.description)
        for bad in _unpacked(details, error_details_pb2.BadRequest)
        for violation in bad.field_violations
    ]
    facts = next(iter(_unpacked(details, error_details_pb2.ErrorInfo)), error_details_pb2.ErrorInfo())
    resource = next(iter(_unpacked(details, error_details_pb2.ResourceInfo)), None)
    match error.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            kind = UnknownName if facts.reason == "UNKNOWN_NAME" else InvalidInput
            return kind(violations or [Violation("request", text)])
        case grpc.StatusCode.NOT_FOUND if violations and resource is not None:
            missing = NotFound(violations[0].field, resource.resource_type, resource.resource_name)
            return _worded(missing, text)
        case grpc.StatusCode.ALREADY_EXISTS if violations and resource is not None:
            return _worded(Conflict(violations[0].field, resource.resource_name), text)
        case grpc.StatusCode.FAILED_PRECONDITION if facts.reason == "CORRUPT_ARTIFACT":
            return CorruptArtifact(facts.metadata["path"], facts.metadata["why"])
        case grpc.StatusCode.FAILED_PRECONDITION:
            return NotReady(text)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(text)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.CANCELLED:
            return Unavailable(f"{error.code().name}: {text}")
        case _:
            return DeciderError(f"{error.code().name}: {text}")


def _worded(error: DeciderError, text: str) -> DeciderError:
    # The server's own words: a number, for one, travels as text and would come back in quotes.
    error.args = (text,)
    return error


def _status(
    code: int,
    error: BaseException,
    reason: str,
    *,
    violations: Sequence[Violation] = (),
    resource: tuple[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
    retry: bool = False,
) -> status_pb2.Status:
    bad, n_left_out = _bad_request(violations)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    for name, value in (facts or {}).items():
        info.metadata[name] = _cut(value, _MAX_TEXT_BYTES)
    if n_left_out:
        info.metadata["violations_left_out"] = str(n_left_out)
    details: list[Any] = [info]
    if violations:
        details.append(bad)
    if resource is not None:
        kind, name = resource
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=_cut(kind, _MAX_TEXT_BYTES),
                resource_name=_cut(name, _MAX_TEXT_BYTES),
                description=_cut(str(error), _MAX_TEXT_BYTES),
            )
        )
    if retry:
        delay = duration_pb2.Duration(nanos=round(_RETRY_SECONDS * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code, message=_cut(str(error), _MAX_TEXT_BYTES), details=[_packed(detail) for detail in details]
    )


def _bad_request(violations: Sequence[Violation]) -> tuple[Any, int]:
    bad = error_details_pb2.BadRequest()
    n_bytes = 0
    for n_kept, violation in enumerate(violations):
        field = _cut(violation.field, _MAX_VIOLATION_BYTES)
        description = _cut(violation.description, _MAX_VIOLATION_BYTES)
        n_bytes += len(field.encode()) + len(description.encode())
        if n_bytes > _MAX_VIOLATIONS_BYTES:
            return bad, len(violations) - n_kept
        bad.field_violations.add(field=field, description=description)
    return bad, 0


def _cut(text: str, n_bytes: int) -> str:
    # Lone surrogates cannot be sent; they only come from reprs of bad input.
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= n_bytes:
        return encoded.decode()
    return encoded[: n_bytes - 3].decode("utf-8", "ignore") + "..."


def _packed(detail: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _unpacked(details: Sequence[Any], kind: Any) -> list[Any]:
    found = []
    for detail in details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found
