"""The one place that decides how kernels are compiled, and where compiled code is kept.

Numba's own cache looks at the file of a kernel only: it would run old code after an edit to an inlined callee
in another file, or to an option here. So the cache folder is named by a hash of every source of this package,
of the versions that generate code and of the flags that change it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import llvmlite
import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

F32: TypeAlias = npt.NDArray[np.float32]
F64: TypeAlias = npt.NDArray[np.float64]
I16: TypeAlias = npt.NDArray[np.int16]
I32: TypeAlias = npt.NDArray[np.int32]
I64: TypeAlias = npt.NDArray[np.int64]
U8: TypeAlias = npt.NDArray[np.uint8]
U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]

F = TypeVar("F", bound=Callable[..., Any])

# Its attributes are set when numba reads the environment, so its type knows none of them.
_config: Final[Any] = numba.config

INTERPRETED: Final = bool(_config.DISABLE_JIT)
"""True under ``NUMBA_DISABLE_JIT=1``: kernels are plain Python and intrinsics are their stand-ins."""

# nogil: threads outside run chunks side by side. error_model="numpy": a division by zero gives inf or nan,
# with no branch in the loop. No fastmath: it would make isnan() false and results depend on the vectoriser;
# where a fused multiply-add is wanted it is written as fma().
_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}

_CODE_FLAGS: Final = (
    "BOUNDSCHECK",
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "ENABLE_AVX",
    "CPU_NAME",
    "CPU_FEATURES",
    "DEBUGINFO_DEFAULT",
    "DISABLE_INTEL_SVML",
)


def kernel(function: F) -> F:
    """Compile a kernel: without the GIL, kept in the cache, never parallel and never with fastmath.

    Notes
    -----
    Compiled at its first call for each combination of argument types. The public functions hand in what
    :func:`decider_core.contracts.check_array` returns, which is read-only and contiguous, so there is one.
    """
    if INTERPRETED:
        return _quiet(function)
    before = _config.CACHE_DIR
    _config.CACHE_DIR = _CACHE_FOLDER or before
    try:
        compiled: F = numba.njit(cache=_CACHE_FOLDER is not None, **_OPTIONS)(function)
    finally:
        _config.CACHE_DIR = before
    return compiled


def inline(function: F) -> F:
    """Compile a function whose body is put into each kernel that calls it."""
    if INTERPRETED:
        return _quiet(function)
    compiled: F = numba.njit(inline="always", **_OPTIONS)(function)
    return compiled


def cache_folder() -> str | None:
    """Return the folder that holds the compiled kernels, or None when none can be written."""
    return _CACHE_FOLDER


def _quiet(function: F) -> F:
    # Compiled code wraps integers and divides by zero without a word; NumPy's scalars would warn.
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arguments)

    return call  # type: ignore[return-value]


def _find_cache_folder() -> str | None:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    digest.update(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for flag in _CODE_FLAGS:
        digest.update(f" {flag}={getattr(_config, flag, None)}".encode())
    try:
        parent = Path(_config.CACHE_DIR) if _config.CACHE_DIR else _default_parent()
        folder = parent / digest.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder.
        warnings.warn(
            f"kernels will compile anew in every process, their cache cannot be written ({error}): "
            "set NUMBA_CACHE_DIR",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return str(folder)


def _default_parent() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "decider" / "numba"


_CACHE_FOLDER: Final = None if INTERPRETED else _find_cache_folder()


if INTERPRETED:

    def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
        """Stand in for the fused multiply-add: the product of two float32 is exact in float64."""
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))

    def fma64(a: float, b: float, c: float) -> float:
        """Stand in for the fused multiply-add, without its single rounding."""
        return a * b + c

    def as_f32(bits: np.int32) -> np.float32:
        """Stand in for the cast of int32 bits to float32."""
        return np.int32(bits).view(np.float32)

    def as_i32(number: np.float32) -> np.int32:
        """Stand in for the cast of float32 to its int32 bits."""
        return np.float32(number).view(np.int32)

    def as_f64(bits: np.int64) -> np.float64:
        """Stand in for the cast of int64 bits to float64."""
        return np.int64(bits).view(np.float64)

    def as_i64(number: float) -> np.int64:
        """Stand in for the cast of float64 to its int64 bits."""
        return np.float64(number).view(np.int64)

else:
    _FLOAT: Final = ir.FloatType()
    _DOUBLE: Final = ir.DoubleType()

    @intrinsic
    def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        """``a*b + c`` of float32, rounded once: the same bits in a vector body and in its remainder."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fma(*arguments)

        return types.float32(types.float32, types.float32, types.float32), generate

    @intrinsic
    def fma64(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        """``a*b + c`` of float64, rounded once."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fma(*arguments)

        return types.float64(types.float64, types.float64, types.float64), generate

    @intrinsic
    def as_f32(typing_context: Any, bits: Any) -> Any:
        """The float32 with these int32 bits."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], _FLOAT)

        return types.float32(types.int32), generate

    @intrinsic
    def as_i32(typing_context: Any, number: Any) -> Any:
        """The int32 with the bits of this float32."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.IntType(32))

        return types.int32(types.float32), generate

    @intrinsic
    def as_f64(typing_context: Any, bits: Any) -> Any:
        """The float64 with these int64 bits."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], _DOUBLE)

        return types.float64(types.int64), generate

    @intrinsic
    def as_i64(typing_context: Any, number: Any) -> Any:
        """The int64 with the bits of this float64."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.IntType(64))

        return types.int64(types.float64), generate
