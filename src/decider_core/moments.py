"""Counts, means, products and skewness of members' numbers, cell by cell, in one pass that can be merged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.compile import F64, I64, U8, kernel
from decider_core.contracts import ContractError, check_array, check_finite


class Moments(NamedTuple):
    """What is left of n members in C cells with m numbers each.

    Parameters
    ----------
    counts : i64[C]
        Members.
    means : f64[C, m]
    products : f64[C, m, m]
        Sums of products of deviations from the means.
    cubes : f64[C, m]
        Sums of cubed deviations from the means.
    """

    counts: I64
    means: F64
    products: F64
    cubes: F64

    def covariance(self) -> F64:
        """Covariances within cells, f64[C, m, m]; NaN in cells of fewer than two members."""
        spare = np.where(self.counts > 1, self.counts - 1, np.nan)
        covariance: F64 = self.products / spare[:, None, None]
        return covariance

    def skewness(self) -> F64:
        """Skewness within cells, f64[C, m]; 0 where nothing varies."""
        squares = np.einsum("cmm->cm", self.products)
        varies = squares > 0.0
        scale = np.where(varies, squares, 1.0)
        skewness: F64 = np.where(varies, np.sqrt(self.counts[:, None]) * self.cubes / scale**1.5, 0.0)
        return skewness


def no_moments(n_cells: int, n_columns: int) -> Moments:
    """Return the moments of nobody, to be added to."""
    return Moments(
        np.zeros(n_cells, np.int64),
        np.zeros((n_cells, n_columns)),
        np.zeros((n_cells, n_columns, n_columns)),
        np.zeros((n_cells, n_columns)),
    )


def add_members(moments: Moments, cells: U8, columns: F64) -> None:
    """Add members to `moments`, in place.

    Parameters
    ----------
    moments
        Of C cells and m columns.
    cells : u8[n]
        The cell of each member, below C.
    columns : f64[m, n]
        Their numbers, finite. A member comes once: what depends within a member is added up before.

    Raises
    ------
    ContractError
        If a dtype, shape or range is wrong; then nothing is added.
    """
    n_cells, n_columns = moments.means.shape
    cells = check_array("cells", cells, np.uint8, (None,))
    columns = check_array("columns", columns, np.float64, (n_columns, cells.size))
    check_finite("columns", columns)
    if cells.size and int(cells.max()) >= n_cells:
        raise ContractError(f"cells must be below {n_cells}, got {int(cells.max())}")
    _add_members(cells, columns, *moments)


def merge_moments(first: Moments, second: Moments) -> Moments:
    """Return the moments of the members of both parts, none of whom is in both.

    References
    ----------
    .. [1] Pebay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
           statistical moments", Sandia report SAND2008-6212, equations 2.1, 2.2 and 3.2.
    """
    if first.means.shape != second.means.shape:
        raise ContractError(
            f"moments must have the same shape in both parts, got {first.means.shape}, {second.means.shape}"
        )
    counts = first.counts + second.counts
    n1, n2 = first.counts[:, None].astype(float), second.counts[:, None].astype(float)
    n = np.maximum(n1 + n2, 1.0)
    apart = second.means - first.means
    squares1, squares2 = (np.einsum("cmm->cm", part.products) for part in (first, second))
    return Moments(
        counts,
        first.means + apart * n2 / n,
        first.products + second.products + (n1 * n2 / n)[:, :, None] * apart[:, :, None] * apart[:, None, :],
        first.cubes
        + second.cubes
        + apart**3 * n1 * n2 * (n1 - n2) / n**2
        + 3.0 * apart * (n1 * squares2 - n2 * squares1) / n,
    )


@kernel
def _add_members(cells: U8, columns: F64, counts: I64, means: F64, products: F64, cubes: F64) -> None:
    n_columns = columns.shape[0]
    apart = np.empty(n_columns)
    for i in range(cells.size):
        cell = cells[i]
        before = np.float64(counts[cell])
        counts[cell] += 1
        n = before + 1.0
        for a in range(n_columns):
            apart[a] = columns[a, i] - means[cell, a]
            step = apart[a] / n
            # sum (x - mean)^3 needs the squares of before.
            cubes[cell, a] += (
                apart[a] * step * step * before * (before - 1.0) - 3.0 * step * products[cell, a, a]
            )
            means[cell, a] += step
        scale = before / n
        for a in range(n_columns):
            for b in range(n_columns):
                products[cell, a, b] += scale * apart[a] * apart[b]
