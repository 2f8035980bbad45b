"""Feature maps: from a member's raw features ``x`` to the vector ``z`` that the posterior is linear in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider_core.features import Scaling, column_moments, standardise


class FeatureMap(Protocol):
    """A pure function from raw features to ``z``, which can be written as facts and arrays."""

    @property
    def kind(self) -> str:
        """The name of the map's form, such as ``raw``."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The raw features that the map reads, in order."""
        ...

    @property
    def constant_features(self) -> tuple[str, ...]:
        """The raw features that did not vary when the map was fitted."""
        ...

    @property
    def n_outputs(self) -> int:
        """The length ``d`` of ``z``."""
        ...

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map raw features ``x`` of shape [n, d0] to ``z`` of shape [n, d]."""
        ...

    def facts(self) -> dict[str, Any]:
        """What belongs in the manifest, as JSON values."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What belongs in array files, by name."""
        ...


class FeatureMoments(NamedTuple):
    """Means of raw features and sums of squared deviations from them; those of two sets of rows add up.

    Parameters
    ----------
    n_rows
        Rows.
    mean, squares
        float64 of shape [d0].
    """

    n_rows: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[np.float32]) -> FeatureMoments:
        """Take the moments of raw features, float32 of shape [n >= 1, d0]."""
        return cls(len(x), *column_moments(x))

    def plus(self, other: FeatureMoments) -> FeatureMoments:
        """Return the moments of both sets of rows."""
        n = self.n_rows + other.n_rows
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.n_rows / n)
        squares = self.squares + other.squares + np.square(apart) * (self.n_rows * other.n_rows / n)
        return FeatureMoments(n, mean, squares)


@dataclass(frozen=True, eq=False)
class RawMap:
    """The raw features, standardised: ``z_j = (x_j - mean_j) / scale_j``, after an intercept of one.

    Parameters
    ----------
    feature_names
        The raw features, in the order of the columns of ``x``.
    mean
        Means, float64 of shape [d0].
    scale
        Standard deviations, float64 of shape [d0]. A feature that was constant when the map was fitted has
        scale zero, and its ``z`` is zero whatever it becomes: nothing is known of what it would change.
    intercept
        Whether the first column of ``z`` is one.
    """

    feature_names: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    intercept: bool = True
    kind: ClassVar[str] = "raw"

    def __post_init__(self) -> None:
        broken = []
        if len(set(self.feature_names)) != len(self.feature_names):
            broken.append(Violation("feature_names", f"must be distinct, got {list(self.feature_names)}"))
        if not self.feature_names and not self.intercept:
            broken.append(Violation("feature_names", "must not be empty without an intercept, got []"))
        broken += broken_vector("map_mean", self.mean, len(self.feature_names))
        broken += broken_vector("map_scale", self.scale, len(self.feature_names))
        if not broken and (self.scale < 0).any():
            place = int(np.flatnonzero(self.scale < 0)[0])
            broken.append(Violation("map_scale", f"must be >= 0, got {self.scale[place]} at {place}"))
        if broken:
            raise InvalidInput(broken)

    @classmethod
    def fit(cls, x: NDArray[np.float32], names: Sequence[str], intercept: bool = True) -> RawMap:
        """Take means and standard deviations from raw features.

        Parameters
        ----------
        x
            Raw features, float32 of shape [n, d0], finite, at least one row.
        names
            The d0 feature names.
        intercept
            Whether ``z`` begins with a one.

        Raises
        ------
        InvalidInput
            If a value is not finite, or the shape does not fit the names.
        """
        if x.ndim != 2 or x.shape[1] != len(names) or x.shape[0] == 0:
            raise InvalidInput.of("x", f"must have shape [n >= 1, {len(names)}]", x.shape)
        if not np.isfinite(x).all():
            row, column = np.argwhere(~np.isfinite(x))[0]
            place = f"at row {row}"
            raise InvalidInput.of(f"x:{names[column]}", "must be finite", float(x[row, column]), place)
        return cls.of_moments(FeatureMoments.of(x), names, intercept)

    @classmethod
    def of_moments(cls, moments: FeatureMoments, names: Sequence[str], intercept: bool = True) -> RawMap:
        """Take means and standard deviations from the moments of one row or more."""
        mean, scale = moments.mean.copy(), np.sqrt(moments.squares / moments.n_rows)
        # A spread that single precision cannot tell from rounding is none: dividing by it makes noise.
        scale[scale <= np.maximum(1e-6 * np.abs(mean), 1e-30)] = 0.0
        return cls(tuple(names), mean, scale, intercept)

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> RawMap:
        """Rebuild the map from what :meth:`facts` and :meth:`arrays` gave."""
        names = tuple(facts["feature_names"])
        return cls(names, arrays["map_mean"], arrays["map_scale"], bool(facts["intercept"]))

    @property
    def n_outputs(self) -> int:
        """The length ``d`` of ``z``."""
        return len(self.feature_names) + int(self.intercept)

    @property
    def constant_features(self) -> tuple[str, ...]:
        """The features that did not vary when the map was fitted."""
        return tuple(name for name, scale in zip(self.feature_names, self.scale, strict=True) if scale == 0)

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each column of ``z``."""
        return (("intercept",) if self.intercept else ()) + self.feature_names

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map raw features to ``z``.

        Parameters
        ----------
        x
            Raw features, float32 of shape [n, d0].

        Returns
        -------
        numpy.ndarray
            float32 of shape [n, d].
        """
        return standardise(x, self.scaling)

    @cached_property
    def scaling(self) -> Scaling:
        """What is subtracted from each feature, and what it is multiplied by, in the dtype of the kernels."""
        inverse_scale = np.divide(1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        return Scaling(self.mean.astype(np.float32), inverse_scale.astype(np.float32), self.intercept)

    def facts(self) -> dict[str, Any]:
        """What belongs in the manifest, as JSON values."""
        return {
            "kind": self.kind,
            "feature_names": list(self.feature_names),
            "intercept": self.intercept,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What belongs in array files, by name."""
        return {"map_mean": self.mean, "map_scale": self.scale}


def broken_vector(name: str, values: NDArray[Any], size: int) -> list[Violation]:
    """The rule that an array of a map breaks, if it does: float64 of shape [size], finite."""
    if values.dtype != np.float64 or values.shape != (size,):
        found = f"{values.dtype} of shape {values.shape}"
        return [Violation(name, f"must be float64 of shape ({size},), got {found}")]
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        return [Violation(name, f"must be finite, got {values[place]} at {place}")]
    return []
