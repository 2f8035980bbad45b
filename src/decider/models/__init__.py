"""What the engine believes about its messages: feature maps, the uplift model, its artifact, the registry."""

from decider.models.artifact import load_model, save_model
from decider.models.feature_map import FeatureMap, RawMap
from decider.models.gbdt import GbdtMap
from decider.models.onnx import OnnxMap
from decider.models.registry import Publication, Registry
from decider.models.uplift import BoundModel, UpliftModel

__all__ = [
    "BoundModel",
    "FeatureMap",
    "GbdtMap",
    "OnnxMap",
    "Publication",
    "RawMap",
    "Registry",
    "UpliftModel",
    "load_model",
    "save_model",
]
