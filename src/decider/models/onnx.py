"""The feature map of a neural network: raw features and the outputs of an ONNX model.

onnxruntime is an extra (``pip install decider[onnx]``) and is loaded when the first such map is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, NotReady, Violation
from decider.models.feature_map import RawMap, broken_vector
from decider.models.on_raw import OnRaw

BLOCK: Final = 32
"""Rows that the network sees at once, always: the sums of matrix products depend on how many there are."""


@dataclass(frozen=True, eq=False)
class OnnxMap(OnRaw):
    """``z = [1, standardised raw features, standardised outputs of the network]``.

    The network has one float32 input of shape [rows, d0], the raw features as they are, and its first output is
    float32 of shape [rows, e]. It runs on one thread in blocks of BLOCK rows, the last one filled up with its
    first row, and its outputs may not depend on a row's place in the block: that is tried when the map is made.

    Parameters
    ----------
    raw
        The raw part, with an intercept.
    onnx_model
        The model file's bytes, uint8.
    output_mean, output_scale
        Means and standard deviations of the outputs where the map was fitted, float64 of shape [e]; an output that
        was constant has scale zero and its ``z`` is zero.

    Raises
    ------
    NotReady
        If onnxruntime is not installed.
    InvalidInput
        If the model cannot be run so, or gives other bits in another place.
    """

    onnx_model: NDArray[np.uint8]
    output_mean: NDArray[np.float64]
    output_scale: NDArray[np.float64]
    kind: ClassVar[str] = "onnx"

    def __post_init__(self) -> None:
        size = self.output_mean.size
        broken = self._broken_raw()
        broken += broken_vector("output_mean", self.output_mean, size)
        broken += broken_vector("output_scale", self.output_scale, size)
        if not broken and (self.output_scale < 0).any():
            broken.append(Violation("output_scale", f"must be >= 0, got {self.output_scale.min()}"))
        if broken:
            raise InvalidInput(broken)
        self._network.check_places(len(self.raw.feature_names))
        if self._network.run(np.zeros((1, len(self.raw.feature_names)), np.float32)).shape[1] != size:
            raise InvalidInput.of("onnx_model", f"must have {size} outputs", "another number")

    @classmethod
    def fit(cls, x: NDArray[np.float32], names: Sequence[str], model: bytes) -> OnnxMap:
        """Take means and standard deviations of raw features and of the network's outputs.

        Parameters
        ----------
        x
            Raw features, float32 of shape [n, d0], finite.
        names
            The d0 feature names.
        model
            The bytes of an ONNX file, trained elsewhere: it must not have seen rewards of the members that effects
            are learnt from.
        """
        raw = RawMap.fit(x, names)
        outputs = _Network(model).run(np.ascontiguousarray(x))
        names_out = [f"output {i}" for i in range(outputs.shape[1])]
        scaled = RawMap.fit(outputs, names_out)
        return cls(raw, np.frombuffer(model, np.uint8), scaled.mean, scaled.scale)

    @property
    def n_own(self) -> int:
        """The network's outputs."""
        return self.output_mean.size

    @property
    def own_names(self) -> tuple[str, ...]:
        """A name for each of them."""
        return self._outputs.feature_names

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map raw features, float32 of shape [n, d0], to ``z``, float32 of shape [n, d]; a row alone decides.

        Raises
        ------
        InvalidInput
            If an output of the network is not finite.
        """
        outputs = self._network.run(np.ascontiguousarray(x))
        if not np.isfinite(outputs).all():
            row, column = np.argwhere(~np.isfinite(outputs))[0]
            found = float(outputs[row, column])
            raise InvalidInput.of("onnx_model", "must give finite outputs", found, f"at row {row}")
        return np.concatenate([self.raw.apply(x), self._outputs.apply(outputs)], axis=1)

    @classmethod
    def _restored(cls, raw: RawMap, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(raw, arrays["onnx_model"], arrays["output_mean"], arrays["output_scale"])

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "onnx_model": self.onnx_model,
            "output_mean": self.output_mean,
            "output_scale": self.output_scale,
        }

    @cached_property
    def _network(self) -> _Network:
        return _Network(self.onnx_model.tobytes())

    @cached_property
    def _outputs(self) -> RawMap:
        names = tuple(f"output {i}" for i in range(self.output_mean.size))
        return RawMap(names, self.output_mean, self.output_scale, intercept=False)


class _Network:
    """An ONNX model on one thread."""

    def __init__(self, model: bytes) -> None:
        try:
            runtime = importlib.import_module("onnxruntime")
        except ModuleNotFoundError as error:
            raise NotReady("a feature map of kind 'onnx' needs onnxruntime: install decider[onnx]") from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            (self._input,) = self._session.get_inputs()
        except Exception as error:
            # onnxruntime's own errors share no base class.
            raise InvalidInput.of("onnx_model", "must be an ONNX model of one input", str(error)) from error

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of all rows, block by block."""
        blocks = []
        for first in range(0, max(len(x), 1), BLOCK):
            rows = x[first : first + BLOCK]
            block = np.zeros((BLOCK, x.shape[1]), np.float32)
            block[: len(rows)] = rows
            block[len(rows) :] = rows[0] if len(rows) else 0.0
            blocks.append(self._run(block)[: len(rows)])
        return np.concatenate(blocks)

    def check_places(self, n_features: int) -> None:
        """Refuse a network in which a row's outputs depend on where in a block it is, or on its neighbours."""
        rows = np.random.default_rng(0).standard_normal((BLOCK, n_features)).astype(np.float32)
        outputs = self._run(rows)
        for shift in range(1, BLOCK):
            moved = self._run(np.roll(rows, shift, axis=0))
            if np.roll(moved, -shift, axis=0).tobytes() != outputs.tobytes():
                rule = "must give a row the same outputs at every place of a block"
                raise InvalidInput.of("onnx_model", rule, f"others {shift} rows on")
        alone = self._run(np.repeat(rows[:1], BLOCK, axis=0))
        if alone[:1].tobytes() != outputs[:1].tobytes():
            raise InvalidInput.of("onnx_model", "must give a row its outputs whoever is beside it", "others")

    def _run(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            found: NDArray[Any] = np.asarray(self._session.run(None, {self._input.name: block})[0])
        except Exception as error:
            rule = f"must take float32 of shape {block.shape}"
            raise InvalidInput.of("onnx_model", rule, str(error)) from error
        if found.dtype != np.float32 or found.ndim != 2 or len(found) != BLOCK:
            rule = f"must give float32 of shape ({BLOCK}, outputs)"
            raise InvalidInput.of("onnx_model", rule, f"{found.dtype} of shape {found.shape}")
        return found
