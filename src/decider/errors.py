"""Every error that Decider raises on purpose.

::

    DeciderError
    ├── InvalidInput        a value breaks a rule: names field, rule, value and place
    │   └── UnknownName     a field names something that does not exist (policy, channel, candidate)
    ├── NotFound            the addressed resource does not exist (member, decision, model version)
    ├── Conflict            the same id was used before with another body
    ├── CorruptArtifact     a file is truncated, changed, of another schema or not finite
    ├── NotReady            the call is right but something it needs is missing here
    └── Unavailable         a passing fault: try again
        └── Overloaded      more calls at once than allowed

``decider_core`` raises its own :class:`decider_core.contracts.ContractError`, since it knows nothing of this tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One broken rule of one field.

    Parameters
    ----------
    field
        Path of the field as the caller wrote it, such as ``members[3].context.recency``.
    description
        The rule and the value found, such as ``must be finite, got nan``.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field} {self.description}"


class DeciderError(Exception):
    """The root of the tree. Crosses processes as it is, whatever its constructor takes."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args, self.__dict__)


class InvalidInput(DeciderError):
    """One or more values break a rule.

    Parameters
    ----------
    violations
        The broken rules, at least one.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        if not violations:
            raise ValueError("violations must name at least one broken rule, got none")
        self.violations = tuple(violations)
        super().__init__("; ".join(map(str, self.violations)))

    @classmethod
    def of(cls, field: str, rule: str, value: object, place: str = "") -> InvalidInput:
        """Make the error for one field: ``<field> <rule>, got <value> <place>``."""
        where = f" {place}" if place else ""
        return cls([Violation(field, f"{rule}, got {value!r}{where}")])


class UnknownName(InvalidInput):
    """A field names something that does not exist."""


class NotFound(DeciderError):
    """The addressed resource does not exist.

    Parameters
    ----------
    field
        The field that addressed it.
    kind
        What was looked for, such as ``member``.
    name
        The name or id found in the field.
    """

    def __init__(self, field: str, kind: str, name: object, hint: str = "") -> None:
        self.field, self.kind, self.name = field, kind, name
        tail = f": {hint}" if hint else ""
        super().__init__(f"{field} names no known {kind}, got {name!r}{tail}")


class Conflict(DeciderError):
    """The same id was used before with another body."""

    def __init__(self, field: str, value: object, rule: str = "was used before with another body") -> None:
        self.field, self.value = field, value
        super().__init__(f"{field} {value!r} {rule}")


class CorruptArtifact(DeciderError):
    """A file is truncated, changed, of another schema or not finite: it is refused as a whole."""

    def __init__(self, path: object, why: str) -> None:
        self.path, self.why = str(path), why
        super().__init__(f"{path} is refused: {why}")


class NotReady(DeciderError):
    """The call is right but something it needs is missing here."""


class Unavailable(DeciderError):
    """A passing fault: the same call may succeed later."""


class Overloaded(Unavailable):
    """More calls at once than the configuration allows."""


def _restored(kind: type[DeciderError], args: tuple[object, ...], fields: dict[str, object]) -> DeciderError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error
