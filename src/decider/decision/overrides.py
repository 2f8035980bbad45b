"""What a call says of one member beyond the snapshot: context overrides and pair features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.catalog import Catalog, audience_mask
from decider.decision.request import Scalar
from decider.errors import InvalidInput, Violation
from decider.members import Snapshot

LARGEST = float(np.finfo(np.float32).max)
"""Features are float32."""


@dataclass(frozen=True)
class Overrides:
    """Checked overrides of one member."""

    feature_values: Mapping[int, float]
    """Feature column -> value."""
    audience: NDArray[np.uint64] | None
    """[n_words, 1] audience bits under the overridden attributes; none when no attribute is overridden."""
    pair_features: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Overrides:
        """Nothing overridden."""
        return cls({}, None)

    def features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The member's features, float32 [1, n_features], with the overridden ones in place."""
        changed = features.copy()
        for column, value in self.feature_values.items():
            changed[:, column] = value
        return changed

    def pair_array(
        self, names: tuple[str, ...], catalog: Catalog, reason: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Pair features as float32 [n_pair_features, n_candidates, 1]; zero where a candidate is excluded.

        Raises
        ------
        InvalidInput
            When an eligible candidate lacks one of the model's pair features.
        """
        array = np.zeros((len(names), *reason.shape), np.float32)
        missing = []
        for candidate in catalog.candidates:
            given = self.pair_features.get(candidate.id, {})
            for place, name in enumerate(names):
                if name in given:
                    array[place, candidate.index] = given[name]
                elif (reason[candidate.index] == 0).any():
                    missing.append(f"{candidate.id}.{name}")
        if missing:
            rule = "must give every pair feature of the model for each eligible candidate; missing"
            raise InvalidInput([Violation("pair_features", f"{rule} {', '.join(missing[:10])}")])
        return array


def check_overrides(
    catalog: Catalog,
    snapshot: Snapshot,
    row: int,
    context: Mapping[str, Scalar],
    pair_features: Mapping[str, Mapping[str, float]],
    pair_names: tuple[str, ...],
) -> Overrides | None:
    """Check a call's overrides against snapshot, catalog and model; none when there are none.

    A context name is a feature of the snapshot, an attribute that rules read, or both; a category's column
    (``zip_code`` where the features are ``zip_code=Rural`` ...) sets all its features.

    Raises
    ------
    InvalidInput
        For an unknown name, a value of the wrong type, or one that is not finite.
    """
    violations = _pair_violations(catalog, pair_features, pair_names)
    features, attributes = _split(snapshot, context, violations)
    if violations:
        raise InvalidInput(violations)
    if not context and not pair_features:
        return None
    audience = None
    if attributes:
        frame = snapshot.attributes(np.array([row], np.int64))
        cast = [pl.lit(value).cast(frame.schema[name]).alias(name) for name, value in attributes.items()]
        audience = audience_mask(catalog, frame.with_columns(cast))
    return Overrides(features, audience, pair_features)


def _split(
    snapshot: Snapshot, context: Mapping[str, Scalar], violations: list[Violation]
) -> tuple[dict[int, float], dict[str, Scalar]]:
    schema = snapshot.attribute_schema
    features: dict[int, float] = {}
    attributes: dict[str, Scalar] = {}
    for name, value in context.items():
        levels = [i for i, known in enumerate(snapshot.feature_names) if known.startswith(f"{name}=")]
        place = f"context.{name}"
        if name in snapshot.feature_names:
            if isinstance(value, str) or not abs(value) <= LARGEST:
                violations.append(Violation(place, f"must be a finite number, got {value!r}"))
            else:
                features[snapshot.feature_names.index(name)] = float(value)
        elif levels:
            level = f"{name}={value}"
            if level not in snapshot.feature_names:
                known = ", ".join(snapshot.feature_names[i].partition("=")[2] for i in levels)
                violations.append(Violation(place, f"must be one of {known}, got {value!r}"))
            features.update({i: float(snapshot.feature_names[i] == level) for i in levels})
        elif name not in schema:
            violations.append(Violation(place, f"must name a feature or an attribute, got {name!r}"))
        if name in schema:
            if _fits(value, schema[name]):
                attributes[name] = value
            else:
                violations.append(Violation(place, f"must be of type {schema[name]}, got {value!r}"))
    return features, attributes


def _fits(value: Scalar, dtype: pl.DataType) -> bool:
    if dtype == pl.Boolean:
        return isinstance(value, bool) or value in (0, 1)
    if dtype.is_integer():
        return isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer())
    if dtype.is_float():
        return isinstance(value, bool | int | float) and math.isfinite(value)
    return isinstance(value, str)


def _pair_violations(
    catalog: Catalog, pair_features: Mapping[str, Mapping[str, float]], names: tuple[str, ...]
) -> list[Violation]:
    known = {candidate.id for candidate in catalog.candidates}
    found = []
    for candidate, values in pair_features.items():
        place = f"pair_features.{candidate}"
        if candidate not in known:
            found.append(Violation(place, f"must name a candidate of the catalog, got {candidate!r}"))
        for name, value in values.items():
            if name not in names:
                rule = f"must be a pair feature of the model ({', '.join(names) or 'it has none'})"
                found.append(Violation(f"{place}.{name}", f"{rule}, got {name!r}"))
            if not math.isfinite(value):
                found.append(Violation(f"{place}.{name}", f"must be finite, got {value!r}"))
    return found
