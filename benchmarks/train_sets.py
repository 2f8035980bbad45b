"""Train the R-learner on a long log of sets, chunk by chunk: `python benchmarks/train_sets.py [rows]`.

Prints rows a second and the most memory that the process held. 32 candidates, 32 features, sets of up to 3.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from decider.learning import SetRows, SetSums, r_learner

K, D, MOST, CHUNK = 32, 32, 3, 100_000
SHARES = np.array([0.3, 0.3, 0.2, 0.2])


def chunk(n: int, g: np.random.Generator, w: np.ndarray) -> SetRows:
    """Draw rows whose candidates all have one weight, so that inclusion is the mean count over K."""
    z = g.standard_normal((n, D), np.float32)
    z[:, 0] = 1.0
    size = g.choice(MOST + 1, n, p=SHARES)
    order = np.argpartition(g.random((n, K), np.float32), MOST, axis=1)[:, :MOST].T
    sets = np.where(np.arange(MOST)[:, None] < size, order, -1).astype(np.int16)
    tau = (z @ w.T.astype(np.float32)).astype(np.float64)
    reward = 0.3 + 0.1 * z[:, 1] + g.standard_normal(n) * 0.4
    for place in sets:
        reward += np.where(place >= 0, tau[np.arange(n), place], 0.0)
    pairs = float(SHARES @ [0, 0, 1, 3])
    inclusion = np.full((K, n), float(SHARES @ np.arange(MOST + 1)) / K)
    return SetRows(sets, reward, inclusion, np.full(n, pairs), np.full(n, pairs * 3 / (K - 1)), z)


def main(n_rows: int) -> None:
    """Run and print."""
    g = np.random.default_rng(0)
    w = g.normal(size=(K, D)) * 0.02
    names = [f"m{c}@email" for c in range(K)]
    sums = SetSums(names, (np.arange(K) // 4).astype(np.int32), D)
    adding, start = 0.0, time.perf_counter()
    for _ in range(n_rows // CHUNK):
        rows = chunk(CHUNK, g, w)
        began = time.perf_counter()
        sums.add(rows)
        adding += time.perf_counter() - began
    began = time.perf_counter()
    found = r_learner(sums, {name: f"type{c % 8}" for c, name in enumerate(names)})
    fitting = time.perf_counter() - began
    error = np.abs(found.mean - w).max() / np.sqrt(np.einsum("kii->ki", found.covariance)).max()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{n_rows:,} rows x {K} candidates x {D} features: {n_rows / adding:,.0f} rows a second, fit {fitting:.1f} s, "
        f"all {time.perf_counter() - start:.0f} s, at most {peak:.2f} GiB; largest error {error:.1f} sd"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
