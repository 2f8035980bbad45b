"""Areas under uplift curves and Poisson resamples of them over members, in one pass over ordered rows."""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.compile import F32, F64, U32, U64, inline, kernel
from decider_core.contracts import check_array, check_finite
from decider_core.poisson import fill_counts
from decider_core.random import BOOTSTRAP, stream_key
from decider_core.resample import _check_resamples
from decider_core.splitmix import member_state

AUTOC: Final = 0
QINI: Final = 1
AUUC: Final = 2
MEAN: Final = 3
N_AREAS: Final = 4


def curve_areas(effect: F64, member_keys: U64, n_resamples: int, seed: int) -> tuple[F64, F64]:
    """Measure the areas under the curves of effects in the order given, and on resamples of members.

    With S_i and N_i the sums of effects and of rows down to row i, of N rows in all, and mean = S_N / N::

        AUTOC   sum_i (S_i / N_i - mean) / N            Yadlowsky et al. [1]_, weight 1
        AUUC    sum_i S_i / N^2                         area under the gain per row
        QINI    sum_i (S_i - mean N_i) / N^2            AUUC less that of a random order; [1]_ with weight u

    In a resample a row counts as often as its member was drawn.

    Parameters
    ----------
    effect : f64[n]
        Unbiased estimates of each row's effect, those thought to gain most first; n >= 1.
    member_keys : u64[n]
        Rows with one key are drawn together.
    n_resamples, seed
        As in :func:`decider_core.resample.resample_sums`.

    Returns
    -------
    areas : f64[4]
        AUTOC, QINI, AUUC and the mean effect.
    resampled : f64[4, n_resamples]
        The same on each resample; NaN for one that drew no row.

    References
    ----------
    .. [1] Yadlowsky, Fleming, Shah, Brunskill, Wager, "Evaluating treatment prioritization rules via
           rank-weighted average treatment effects", 2021, sections 2.2 and 3.
    """
    effect = check_array("effect", effect, np.float64, (None,))
    member_keys = check_array("member_keys", member_keys, np.uint64, (effect.size,))
    check_finite("effect", effect)
    _check_resamples(n_resamples)
    # The last lane draws every row once: it is the estimate itself.
    lanes = np.arange(n_resamples + 1, dtype=np.uint32)
    counts = np.empty(n_resamples + 1, np.float32)
    sums = np.zeros((5, n_resamples + 1))
    _curve_areas(effect, member_keys, stream_key(seed, BOOTSTRAP), lanes, counts, sums)
    areas = np.empty((N_AREAS, n_resamples + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        rows, total, running_mean, running_sum, running_rows = sums
        areas[MEAN] = total / rows
        areas[AUTOC] = running_mean / rows - areas[MEAN]
        areas[AUUC] = running_sum / np.square(rows)
        areas[QINI] = areas[AUUC] - areas[MEAN] * running_rows / np.square(rows)
    return areas[:, -1].copy(), areas[:, :-1].copy()


@kernel
def _curve_areas(
    effect: F64, member_keys: U64, stream: np.uint64, lanes: U32, counts: F32, sums: F64
) -> None:
    # Rows of sums: N, S, sum of count S / N, sum of count S, sum of count N.
    for i in range(effect.size):
        fill_counts(member_state(stream, member_keys[i]), lanes, counts)
        counts[counts.size - 1] = np.float32(1.0)
        for b in range(counts.size):
            _add(np.float64(counts[b]), effect[i], b, sums)


@inline
def _add(count: float, effect: float, b: int, sums: F64) -> None:
    # Copies of one row stand one behind another, so that a count of c adds what c rows would.
    rows, total = sums[0, b], sums[1, b]
    sums[0, b] = rows + count
    sums[1, b] = total + count * effect
    between = count * (count + 1.0) / 2.0
    sums[3, b] += count * total + between * effect
    sums[4, b] += count * rows + between
    copy = 1.0
    while copy <= count:
        sums[2, b] += (total + copy * effect) / (rows + copy)
        copy += 1.0
