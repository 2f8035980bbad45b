"""Checks of what enters the core: dtype, shape, finiteness and range, each error with its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from decider_core.compile import F32, INTERPRETED, kernel

# NumPy has one dtype object for each of its own types, so "is" tells them; whatever else comes is compared.
_KINDS = (np.float32, np.float64, np.int16, np.int32, np.int64, np.uint8, np.uint32, np.uint64)
_NATIVE: Final[dict[Any, np.dtype[Any]]] = {kind: np.dtype(kind) for kind in _KINDS}
# Of these a range is checked by a kernel; of 64 bits, no bound that is asked for is beyond what float64 holds.
_RANGED: Final = frozenset(np.dtype(kind) for kind in (np.float32, np.float64, np.int16, np.int32, np.int64))
# NumPy's bits for an array that is C-contiguous and aligned, and for one that may be written.
_IN_ORDER: Final = 0x101
_WRITEABLE: Final = 0x400


class ContractError(ValueError):
    """An argument breaks the contract: the text names it, the rule, the value found and the place."""


def check_array(name: str, array: Any, dtype: npt.DTypeLike, shape: Sequence[int | None]) -> npt.NDArray[Any]:
    """Return `array` as a read-only, aligned, C-contiguous view.

    Parameters
    ----------
    name
        What the error calls it.
    array
        A NumPy array of exactly `dtype`: another dtype is an error and never a cast.
    dtype
        The required dtype.
    shape
        One entry per axis: a length, or None for any.

    Returns
    -------
    numpy.ndarray
        The array itself as a read-only view; copied only if it is strided or not aligned. Being read-only it
        has one type to the compiler, whether it came from a mapped file or from an allocation.

    Raises
    ------
    ContractError
        If the type, dtype, number of axes or a length differs.
    """
    # The usual case first: one decision makes some fifty of these checks.
    if (
        type(array) is np.ndarray
        and array.dtype is _NATIVE.get(dtype)
        and (array.shape == shape or _fits(array.shape, shape))
        and (flags := array.flags.num) & _IN_ORDER == _IN_ORDER
    ):
        checked: npt.NDArray[Any] = array
        if flags & _WRITEABLE:
            checked = array.view()
            checked.setflags(write=False)  # here, as a call costs as much as the view
        return checked
    if not isinstance(array, np.ndarray):
        raise ContractError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise ContractError(f"{name} must have dtype {np.dtype(dtype)}, got {array.dtype}")
    if not _fits(array.shape, shape):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ContractError(f"{name} must have shape {wanted}, got {array.shape}")
    if array.flags.num & _IN_ORDER != _IN_ORDER:
        array = np.require(array, requirements=("C", "A"))
    return _read_only(array)


def check_output(
    name: str, out: npt.NDArray[Any] | None, dtype: npt.DTypeLike, shape: Sequence[int]
) -> npt.NDArray[Any]:
    """Return `out` if it can hold the result, or a new array if it is None.

    Raises
    ------
    ContractError
        If `out` has another dtype or shape, or is read-only, strided or not aligned.
    """
    if out is None:
        return np.empty(tuple(shape), dtype)
    if (
        type(out) is np.ndarray
        and out.dtype is _NATIVE.get(dtype)
        and out.shape == shape
        and out.flags.num & (_IN_ORDER | _WRITEABLE) == _IN_ORDER | _WRITEABLE
    ):
        return out
    check_array(name, out, dtype, shape)
    if out.flags.num & (_IN_ORDER | _WRITEABLE) != _IN_ORDER | _WRITEABLE:
        raise ContractError(f"{name} must be writeable, C-contiguous and aligned, got {_flags(out)}")
    return out


def check_finite(name: str, array: npt.NDArray[Any]) -> None:
    """Refuse NaN and infinities, naming the first.

    Parameters
    ----------
    name
        What the error calls it.
    array
        Any float array. A contiguous float32 array costs one pass at memory speed and no allocation.
    """
    if array.dtype == np.float32 and array.flags.num & _IN_ORDER == _IN_ORDER:
        finite = _all_finite(_read_only(array.reshape(-1)))
    else:
        finite = bool(np.isfinite(array).all())
    if not finite:
        _refuse(name, "must be finite", array, ~np.isfinite(array))


def check_range(
    name: str, array: npt.NDArray[Any], low: float, high: float, *, open_low: bool = False
) -> None:
    """Refuse values outside [low, high], or (low, high] if `open_low`; NaN is outside. Names the first."""
    if _is_inside(array, low, high, open_low):
        return
    inside = (array > low if open_low else array >= low) & (array <= high)
    if not inside.all():
        rule = f"must be in {'(' if open_low else '['}{low:g}, {high:g}{')' if high == np.inf else ']'}"
        _refuse(name, rule, array, ~inside)


def check_probability(name: str, value: float | npt.NDArray[Any]) -> None:
    """Refuse a number, or any entry of an array, outside [0, 1]."""
    check_range(name, np.asarray(value), 0.0, 1.0)


def check_number(
    name: str, value: float, low: float = -np.inf, high: float = np.inf, *, finite: bool = True
) -> float:
    """Return `value` as a float, refusing NaN, a value outside [low, high] and, if `finite`, infinities."""
    number = float(value)
    if not low <= number <= high or (finite and not math.isfinite(number)):
        raise ContractError(
            f"{name} must be {'finite and ' if finite else ''}in [{low:g}, {high:g}], got {number}"
        )
    return number


def check_same_length(**arrays: npt.NDArray[Any]) -> int:
    """Return the common length of the first axes, refusing arrays that differ."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise ContractError(f"{', '.join(lengths)} must have the same length, got {found}")
    return next(iter(lengths.values()))


def _is_inside(array: npt.NDArray[Any], low: float, high: float, open_low: bool) -> bool:
    """Whether all is known to be inside: by a kernel, in a tenth of the time that NumPy takes for one member."""
    if array.ndim == 0:
        return bool(low < array[()] <= high if open_low else low <= array[()] <= high)
    if INTERPRETED or array.dtype not in _RANGED or array.flags.num & _IN_ORDER != _IN_ORDER:
        return False
    if array.flags.num & _WRITEABLE or type(array) is not np.ndarray:
        array = _read_only(array)
    return bool(_all_inside(array.reshape(-1), float(low), float(high), open_low))


def _fits(found: tuple[int, ...], wanted: Sequence[int | None]) -> bool:
    if len(found) != len(wanted):
        return False
    for place, n_wanted in enumerate(wanted):  # noqa: SIM110  # a generator or strict zip takes twice as long
        if n_wanted is not None and n_wanted != found[place]:
            return False
    return True


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view: npt.NDArray[Any] = array.view(np.ndarray)
    view.setflags(write=False)
    return view


def _refuse(name: str, rule: str, array: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> None:
    if array.ndim == 0:
        raise ContractError(f"{name} {rule}, got {array[()]}")
    place = tuple(int(axis[0]) for axis in np.nonzero(wrong))
    raise ContractError(f"{name} {rule}, got {array[place]} at {list(place)}")


def _flags(array: npt.NDArray[Any]) -> str:
    flags = array.flags
    return f"writeable={flags.writeable}, C-contiguous={flags.c_contiguous}, aligned={flags.aligned}"


@kernel
def _all_finite(numbers: F32) -> bool:
    # x - x is 0 for every finite x, and nan for nan and the infinities.
    n_wrong = 0
    for i in range(numbers.size):
        n_wrong += numbers[i] - numbers[i] != np.float32(0.0)
    return n_wrong == 0


@kernel
def _all_inside(numbers: F32, low: float, high: float, open_low: bool) -> bool:
    n_inside = 0
    for i in range(numbers.size):
        n_inside += (numbers[i] >= low) & (numbers[i] <= high) & ((numbers[i] != low) | (not open_low))
    return n_inside == numbers.size
