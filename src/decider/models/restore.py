"""Feature maps of every kind, rebuilt from what an artifact holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.models.feature_map import FeatureMap, RawMap
from decider.models.gbdt import GbdtMap
from decider.models.onnx import OnnxMap

_MAPS: Final[tuple[type[RawMap | GbdtMap | OnnxMap], ...]] = (RawMap, GbdtMap, OnnxMap)


def restore_map(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> FeatureMap:
    """Rebuild a feature map of any known kind from its facts and arrays.

    Raises
    ------
    InvalidInput
        If the kind is not known here.
    NotReady
        If the kind needs an extra that is not installed.
    """
    kinds = {each.kind: each for each in _MAPS}
    if facts["kind"] not in kinds:
        raise InvalidInput.of("feature_map.kind", f"must be one of {list(kinds)}", facts["kind"])
    return kinds[facts["kind"]].restore(facts, arrays)
