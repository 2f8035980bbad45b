"""Rules applied to members: which candidates are for whom, and how the heuristic policy ranks them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from decider.catalog.rules import Rule, expression_fault, first_line
from decider.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from decider.catalog.catalog import Catalog


@dataclass(frozen=True)
class Problem:
    """One rule that cannot work."""

    field: str
    """Such as ``messages[3].audience``."""
    message: str
    """Id of the message."""
    expression: str
    what: str
    """What is wrong, such as ``reads the unknown column 'watched_s1'; did you mean 'watched_season_1'?``."""

    def violation(self) -> Violation:
        """The same as a violation of the field."""
        return Violation(self.field, f"of {self.message!r} {self.what}, got {self.expression!r}")


def check_catalog(catalog: Catalog, schema: Mapping[str, pl.DataType] | None = None) -> list[Problem]:
    """Find the rules that would fail on members of a schema.

    Parameters
    ----------
    catalog
        The catalog.
    schema
        Member columns and their types, as of a snapshot's attributes; None checks the text alone.

    Returns
    -------
    list of Problem
        Unknown columns with near names; audiences that are not boolean, priorities that are not numbers.
    """
    problems = []
    for kind, rules in (("audience", catalog.rules.audience), ("priority", catalog.rules.priority)):
        for rule in rules:
            what = expression_fault(rule.expression)
            if what is None and schema is not None:
                what = _fault(rule, schema, boolean=kind == "audience")
            if what is not None:
                problems.append(Problem(rule.field, rule.message, rule.expression, what))
    return problems


def audience_mask(catalog: Catalog, frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """Apply every audience rule to every member.

    Parameters
    ----------
    catalog
        The catalog.
    frame
        Member columns, a row a member.

    Returns
    -------
    uint64[n_words, n_members]
        Bit ``k % 64`` of word ``k // 64`` is set where candidate k is for the member. A rule whose value is
        null (some column it needs is null) does not admit.

    Raises
    ------
    InvalidInput
        A rule reads an unknown column, is not boolean, or fails on a value.
    """
    rules = catalog.rules
    mask = np.repeat(rules.open_bits[:, None], len(frame), axis=1)
    for rule_bits, admitted in zip(
        rules.audience_bits, _evaluate(rules.audience, frame, boolean=True), strict=True
    ):
        holds = admitted.to_numpy()
        for word, bits in zip(mask, rule_bits, strict=True):
            if bits:
                word |= holds * bits
    return mask


def priorities(catalog: Catalog, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Compute the heuristic priority of every candidate for every member.

    Parameters
    ----------
    catalog
        The catalog.
    frame
        Member columns, a row a member.

    Returns
    -------
    float32[n_candidates, n_members]

    Raises
    ------
    InvalidInput
        As :func:`audience_mask`; and when an expression is null or not finite for some member: an
        expression that may be null says what it means then, by COALESCE.
    """
    rules = catalog.rules
    out = np.repeat(rules.priority_number[:, None], len(frame), axis=1)
    for place, column in enumerate(_evaluate(rules.priority, frame, boolean=False)):
        values = column.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        bad = ~np.isfinite(values)
        if bad.any():
            rule, row = rules.priority[place], int(bad.argmax())
            what = (
                f"must be finite for every member, got {column[row]!r} at row {row} from {rule.expression!r}"
            )
            raise InvalidInput([Violation(rule.field, f"of {rule.message!r} {what}")])
        out[rules.priority_rule == place] = values
    return out


def _evaluate(rules: Sequence[Rule], frame: pl.DataFrame, *, boolean: bool) -> list[pl.Series]:
    """One Polars query for all rules, so that shared parts are computed once, on all threads."""
    if not rules:
        return []
    try:
        expressions = [rule.compiled.fill_null(value=False) if boolean else rule.compiled for rule in rules]
        values = frame.select(
            expression.alias(str(place)) for place, expression in enumerate(expressions)
        ).get_columns()
    except PolarsError as error:
        raise _error(rules, frame, error, boolean=boolean) from None
    wrong = [
        rule for rule, column in zip(rules, values, strict=True) if not _fits(column.dtype, boolean=boolean)
    ]
    if wrong:
        raise _error(rules, frame, None, boolean=boolean)
    # A rule without columns (TRUE) is one value: it holds for every row.
    return [
        column if len(column) == len(frame) else column.new_from_index(0, len(frame)) for column in values
    ]


def _error(
    rules: Sequence[Rule], frame: pl.DataFrame, error: Exception | None, *, boolean: bool
) -> InvalidInput:
    """Name the rules that fail: by the schema where that shows it, else by trying each alone on the data."""
    violations = []
    for rule in rules:
        what = _fault(rule, frame.schema, boolean=boolean)
        if what is None and error is not None:
            try:
                frame.select(rule.compiled)
            except PolarsError as own:
                what = f"must hold for every member's values: {first_line(own)}"
        if what is not None:
            violations.append(Problem(rule.field, rule.message, rule.expression, what).violation())
    return InvalidInput(violations or [Violation("catalog", f"must apply to the members: {error}")])


def _fault(rule: Rule, schema: Mapping[str, pl.DataType], *, boolean: bool) -> str | None:
    """Say why a rule cannot work on a schema, or None."""
    unknown = [name for name in rule.columns if name not in schema]
    if unknown:
        return "; ".join(_unknown(name, schema) for name in unknown)
    # One row of nulls finds the type errors that Polars only meets when it computes.
    nulls = pl.DataFrame({name: pl.Series(name, [None], dtype=schema[name]) for name in rule.columns})
    try:
        dtype = nulls.select(rule.compiled).dtypes[0]
    except PolarsError as error:
        return f"must fit the types of its columns: {first_line(error)}"
    if not _fits(dtype, boolean=boolean):
        return f"must be {'boolean' if boolean else 'a number'}, not {dtype}"
    return None


def _fits(dtype: pl.DataType, *, boolean: bool) -> bool:
    return dtype == pl.Boolean if boolean else dtype.is_numeric()


def _unknown(name: str, schema: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(schema), n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"reads the unknown column {name!r}{hint}"
