"""What feature maps share whose first columns are the raw features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from decider.errors import Violation
from decider.models.feature_map import RawMap


@dataclass(frozen=True, eq=False)
class OnRaw(ABC):
    """A feature map ``z = [raw part, columns of its own]``: it reads what its raw part reads.

    Parameters
    ----------
    raw
        The raw part, with an intercept.
    """

    raw: RawMap
    kind: ClassVar[str]

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the map from what :meth:`facts` and :meth:`arrays` gave."""
        return cls._restored(RawMap.restore(facts, arrays), facts, arrays)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The raw features that the map reads, in order."""
        return self.raw.feature_names

    @property
    def constant_features(self) -> tuple[str, ...]:
        """The features that did not vary when the map was fitted."""
        return self.raw.constant_features

    @property
    def n_outputs(self) -> int:
        """The length ``d`` of ``z``."""
        return self.raw.n_outputs + self.n_own

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each column of ``z``."""
        return (*self.raw.output_names, *self.own_names)

    def facts(self) -> dict[str, Any]:
        """What belongs in the manifest, as JSON values."""
        return {**self.raw.facts(), "kind": self.kind, **self._own_facts()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What belongs in array files, by name."""
        return {**self.raw.arrays(), **self._own_arrays()}

    @property
    @abstractmethod
    def n_own(self) -> int:
        """How many columns it adds to the raw ones."""

    @property
    @abstractmethod
    def own_names(self) -> tuple[str, ...]:
        """A name for each of them."""

    @abstractmethod
    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map raw features, float32 of shape [n, d0], to ``z``, float32 of shape [n, d]; a row alone decides."""

    @classmethod
    @abstractmethod
    def _restored(cls, raw: RawMap, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self: ...

    @abstractmethod
    def _own_arrays(self) -> dict[str, NDArray[Any]]: ...

    def _own_facts(self) -> dict[str, Any]:
        return {}

    def _broken_raw(self) -> list[Violation]:
        """The rule that the raw part breaks, if it does."""
        if self.raw.intercept:
            return []
        return [Violation("intercept", f"must be true in a map of kind {self.kind}, got False")]
