"""Flat files seen as read-only arrays."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from decider.errors import CorruptArtifact


def map_array(path: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Map a file as a read-only array.

    Parameters
    ----------
    path
        The file.
    dtype
        Type of its elements, in the byte order of the machine.

    Raises
    ------
    CorruptArtifact
        The file cannot be opened, or its size is not a whole number of elements.
    """
    size = np.dtype(dtype).itemsize
    try:
        with path.open("rb") as file:
            n_bytes = path.stat().st_size
            if n_bytes == 0:  # an empty file cannot be mapped
                return np.frombuffer(b"", dtype)
            if n_bytes % size:
                raise CorruptArtifact(path, f"its size must be a multiple of {size} bytes, got {n_bytes}")
            # A plain array over the map: np.memmap would pass its subclass on to every result.
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype)
    except OSError as error:
        raise CorruptArtifact(path, f"it cannot be mapped: {error.strerror}") from None
