"""Which half and which fold a member belongs to: a keyed hash, so all of a member's rows stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider_core.random import FOLD, stream_key, uniforms

# Two indices of one stream: which half a member is in says nothing about its fold.
_FOLDS, _HALVES = 0, 1


def fold_of(member_keys: NDArray[np.uint64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Give every row the fold of its member.

    Parameters
    ----------
    member_keys
        uint64 of shape [n].
    n_folds
        2 or more.
    seed
        The seed of the folds.

    Returns
    -------
    numpy.ndarray
        int64 of shape [n], in [0, n_folds).
    """
    if n_folds < 2:
        raise InvalidInput.of("folds", "must be >= 2", n_folds)
    return (uniforms(stream_key(seed, FOLD, 0, _FOLDS), member_keys) * n_folds).astype(np.int64)


def split(member_keys: NDArray[np.uint64], seed: int, share: float) -> NDArray[np.bool_]:
    """Put members into a training part and a held-out part.

    Parameters
    ----------
    member_keys
        uint64 of shape [n].
    seed
        The seed of the split.
    share
        The expected share of members in the training part, in (0, 1).

    Returns
    -------
    numpy.ndarray
        bool of shape [n]: True in the training part. Independent of :func:`fold_of` under the same seed.
    """
    if not 0.0 < share < 1.0:
        raise InvalidInput.of("share", "must be in (0, 1)", share)
    return uniforms(stream_key(seed, FOLD, 0, _HALVES), member_keys) < share
