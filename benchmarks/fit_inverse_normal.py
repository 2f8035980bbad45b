"""Fits the table of :mod:`decider_core.inverse_normal` and prints it: ``python benchmarks/fit_inverse_normal.py``.

Each octave by Lawson's iteration: least squares, weights multiplied by the error until the largest error is least.
Coefficients are rounded one after another, from the constant on, and the rest is fitted again each time.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.special import ndtri

N_OCTAVES, DEGREE, N_POINTS, N_ITERATIONS = 32, 6, 4000, 400


def fit(octave: int) -> np.ndarray:
    """Coefficients for q = 2^-(octave + 1) m, m in [1, 2), as powers of m - 1.5 from the lowest on."""
    t = 0.5 * np.cos(np.pi * (np.arange(N_POINTS) + 0.5) / N_POINTS)
    left = -ndtri(2.0 ** -(octave + 2) * (1.5 + t))
    powers = np.vander(t, DEGREE + 1, increasing=True)
    rounded = []
    for j in range(DEGREE + 1):
        weight = np.ones(N_POINTS)
        for _ in range(N_ITERATIONS):
            root = np.sqrt(weight)
            found = np.linalg.lstsq(powers[:, j:] * root[:, None], left * root, rcond=None)[0]
            weight *= np.abs(powers[:, j:] @ found - left)
            weight /= weight.mean()
        rounded.append(np.float32(found[0]))
        left = left - powers[:, j] * np.float64(rounded[-1])
    return np.array(rounded)


if __name__ == "__main__":
    for octave in range(N_OCTAVES):
        sys.stdout.write(" ".join(np.format_float_scientific(c, trim="-") for c in fit(octave)) + "\n")
