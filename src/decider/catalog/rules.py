"""Polars SQL expressions of a catalog, compiled and held to one row at a time.

A rule may look at the member's own row only: otherwise a member's decision would depend on who else is in
the batch. Polars does not tell reliably whether an expression is elementwise, so the text itself is held to
a list of functions that are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from decider.errors import Violation

ALLOWED_FUNCTIONS: Final = frozenset(
    """
    ABS ACOS ARRAY_CONTAINS ARRAY_LENGTH ASIN ATAN ATAN2 CBRT CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH
    COALESCE CONCAT COS COT DATE_PART DAY DEGREES DIV ENDS_WITH EXP FLOOR GREATEST IF IFNULL INITCAP LEAST
    LEFT LENGTH LN LOG LOG10 LOG1P LOG2 LOWER LTRIM MOD MONTH NULLIF OCTET_LENGTH POSITION POW POWER RADIANS
    REGEXP_LIKE REPLACE REVERSE RIGHT ROUND RTRIM SIGN SIN SPLIT_PART SQRT STARTS_WITH STRFTIME STRPOS SUBSTR
    SUBSTRING TAN TRIM UPPER YEAR
    """.split()  # noqa: SIM905  # a list of words reads as one
)
"""SQL functions whose value on a row depends on that row alone, and not on when it is computed."""

_BEFORE_PARENTHESIS: Final = frozenset(
    """
    AND OR NOT XOR IN IS BETWEEN LIKE ILIKE RLIKE REGEXP WHEN THEN ELSE CASE CAST TRY_CAST EXTRACT
    FROM DECIMAL NUMERIC VARCHAR CHAR FLOAT
    """.split()  # noqa: SIM905
)
"""Words of the grammar, and types, that may stand before a parenthesis without being functions."""

_FORBIDDEN_WORDS: Final = frozenset(
    """
    SELECT OVER EXISTS ANY ALL SOME UNNEST COLUMNS CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP
    LOCALTIME LOCALTIMESTAMP
    """.split()  # noqa: SIM905
)
"""Subqueries, windows, several columns at once, and the wall clock."""

_TOKEN: Final = re.compile(
    r"""(?P<skip>\s+|'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/)|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)"""
    r"""|(?P<word>[^\W\d]\w*)|(?P<other>.)""",
    re.DOTALL,
)


class HasRules(Protocol):
    """The part of a message that is read here."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def audience(self) -> str | None: ...  # noqa: D102
    @property
    def priority(self) -> float | str: ...  # noqa: D102


@dataclass(frozen=True)
class Rule:
    """One compiled expression and the first place where it stands."""

    field: str
    """Such as ``messages[3].audience``."""
    message: str
    expression: str
    compiled: pl.Expr
    columns: tuple[str, ...]
    """Member columns that it reads."""


@dataclass(frozen=True)
class Rules:
    """All expressions of a catalog, each distinct one once."""

    audience: tuple[Rule, ...]
    audience_bits: npt.NDArray[np.uint64]
    """uint64[n_rules, n_words]: the candidates that a rule admits."""
    open_bits: npt.NDArray[np.uint64]
    """uint64[n_words]: the candidates that are for everybody."""
    priority: tuple[Rule, ...]
    priority_rule: npt.NDArray[np.int64]
    """int64[n_candidates] place in `priority`, -1 where the priority is a number."""
    priority_number: npt.NDArray[np.float32]
    """float32[n_candidates] the number, 0 where it is a rule."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every member column that some rule reads, sorted."""
        return tuple(sorted({name for rule in (*self.audience, *self.priority) for name in rule.columns}))


def compile_rules(messages: Sequence[HasRules], n_channels: npt.NDArray[np.int64]) -> Rules:
    """Compile the rules of checked messages.

    Parameters
    ----------
    messages
        Messages whose expressions passed :func:`syntax_violations`.
    n_channels
        int64[n_messages] candidates of each message.
    """
    n_candidates = int(n_channels.sum())
    first = np.concatenate([[0], np.cumsum(n_channels)])
    n_words = -(-n_candidates // 64)
    audience: dict[str, Rule] = {}
    bits: dict[str, Any] = {}
    open_bits = np.zeros(n_words, np.uint64)
    priority: dict[str, Rule] = {}
    priority_rule = np.full(n_candidates, -1, np.int64)
    priority_number = np.zeros(n_candidates, np.float32)
    for i, message in enumerate(messages):
        own = slice(int(first[i]), int(first[i + 1]))
        target = open_bits
        if message.audience is not None:
            audience.setdefault(
                message.audience, _compile(f"messages[{i}].audience", message, message.audience)
            )
            target = bits.setdefault(message.audience, np.zeros(n_words, np.uint64))
        for k in range(own.start, own.stop):
            target[k // 64] |= np.uint64(1 << (k % 64))
        if isinstance(message.priority, str):
            text = message.priority
            priority.setdefault(text, _compile(f"messages[{i}].priority", message, text))
            priority_rule[own] = list(priority).index(text)
        else:
            priority_number[own] = message.priority
    return Rules(
        audience=tuple(audience.values()),
        audience_bits=np.array(list(bits.values()), np.uint64).reshape(len(bits), n_words),
        open_bits=open_bits,
        priority=tuple(priority.values()),
        priority_rule=priority_rule,
        priority_number=priority_number,
    )


def syntax_violations(messages: Sequence[HasRules]) -> Iterator[Violation]:
    """Say what is wrong with the expressions of messages, as far as it shows without a schema."""
    for i, message in enumerate(messages):
        for name, text in (("audience", message.audience), ("priority", message.priority)):
            if isinstance(text, str) and (what := expression_fault(text)) is not None:
                yield Violation(f"messages[{i}].{name}", f"of {message.id!r} {what}, got {text!r}")


def expression_fault(text: str) -> str | None:
    """Say which rule an expression breaks: not SQL, several columns, or more than the member's own row."""
    tokens = [(kind, token.group()) for token in _TOKEN.finditer(text) if (kind := token.lastgroup) != "skip"]
    for (kind, token), (_, following) in zip(tokens, [*tokens, ("end", "")][1:], strict=True):
        word = token.upper()
        if kind == "quoted" and following == "(":
            return f"must write functions without quotes, not as {token}"
        if kind != "word":
            continue
        if word in _FORBIDDEN_WORDS:
            return f"must depend on the member's own row and nothing else: {word} is not allowed"
        if following == "(" and word not in ALLOWED_FUNCTIONS and word not in _BEFORE_PARENTHESIS:
            allowed = ", ".join(sorted(ALLOWED_FUNCTIONS))
            return f"must use functions of the member's own row only: {word} is not one of {allowed}"
    try:
        compiled = pl.sql_expr(text)
        several = compiled.meta.has_multiple_outputs() or compiled.meta.is_regex_projection()
    except PolarsError as error:
        return f"must be a Polars SQL expression: {first_line(error)}"
    return "must give one value a member, not several columns" if several else None


def first_line(error: Exception) -> str:
    """The first line of a Polars error: the rest is its query plan."""
    return str(error).split("\n", 1)[0]


def _compile(field: str, message: HasRules, text: str) -> Rule:
    compiled = pl.sql_expr(text)
    return Rule(field, message.id, text, compiled, tuple(sorted(set(compiled.meta.root_names()))))
