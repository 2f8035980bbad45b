"""Ridge regression from sums over rows, with its penalty averaged by evidence: the reward models' form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.learning.shrinkage import directions, shrink
from decider_core.posterior import gram_update


class Moments(NamedTuple):
    """Sums over rows of ``[z, y]``; those of two sets of rows add up.

    Parameters
    ----------
    gram
        ``sum z z'``, float64 of shape [d, d]; the first entry of z is one.
    information
        ``sum z y``, float64 of shape [d].
    squares
        ``sum y^2``.
    """

    gram: NDArray[np.float64]
    information: NDArray[np.float64]
    squares: float

    def plus(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows."""
        return Moments(
            self.gram + other.gram, self.information + other.information, self.squares + other.squares
        )


def moments(z: NDArray[np.float32], y: NDArray[np.float64]) -> Moments:
    """Add up rows.

    Parameters
    ----------
    z
        float32 of shape [n, d], its first column ones.
    y
        float64 of shape [n].
    """
    d = z.shape[1]
    gram, information = np.zeros((d, d)), np.zeros(d)
    gram_update(gram, information, z, y, np.ones(len(y)))
    return Moments(gram, information, float(y @ y))


def ridge(rows: Moments) -> NDArray[np.float64]:
    """Return the coefficients of y in z, float64 of shape [d].

    The intercept is free; the slopes of the centred features are pulled to zero as
    :mod:`decider.learning.shrinkage` has it. Features that are constant, or combinations of others, are no
    trouble.

    Parameters
    ----------
    rows
        The moments of two or more rows.
    """
    n = rows.gram[0, 0]
    z_mean, y_mean = rows.gram[0, 1:] / n, rows.information[0] / n
    gram = rows.gram[1:, 1:] - n * np.outer(z_mean, z_mean)
    information = rows.information[1:] - n * z_mean * y_mean
    squares = rows.squares - n * y_mean**2
    slopes = np.zeros(len(z_mean))
    # The sums keep 16 digits less what the mean takes of them: below that y does not vary.
    if squares > 1e-12 * rows.squares:
        values, vectors, seen = directions(gram)
        grid = shrink(values[seen], vectors[:, seen].T @ information, squares, n - 1)
        slopes = vectors[:, seen] @ (grid.share @ grid.slopes)
    return np.concatenate([[y_mean - z_mean @ slopes], slopes])
