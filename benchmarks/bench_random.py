"""Keyed draws against NumPy's sequential ones, on one thread in one run."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider_core import random

STREAM = random.stream_key(1, random.DRAW)


@pytest.mark.parametrize("kind", ["normals", "uniforms"])
@pytest.mark.parametrize("shape", [(512, 32), (4096, 32)], ids=lambda shape: "m{}-k{}".format(*shape))
def test_draws(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int], kind: str
) -> None:
    n, k = shape
    members, candidates = np.arange(n, dtype=np.uint64), np.arange(k, dtype=np.uint64)
    generator = np.random.Generator(np.random.SFC64(1))
    if kind == "normals":
        out = np.empty((k, n), np.float32)
        ours, theirs = random.normals, generator.standard_normal
        arguments, ref = (STREAM, members, candidates, out), np.empty((k, n), np.float32)
    else:
        ours, theirs = random.pair_uniforms, generator.random
        arguments, ref = (STREAM, members, candidates), np.empty((k, n))
    ours(*arguments)
    numpy_seconds = []
    for _ in range(30):
        start = time.perf_counter()
        theirs(dtype=ref.dtype, out=ref)
        numpy_seconds.append(time.perf_counter() - start)
    benchmark(ours, *arguments)
    seconds = benchmark.stats.stats.median
    figures = {
        "ns_per_draw": seconds / (n * k) * 1e9,
        "times_numpy": float(np.median(numpy_seconds)) / seconds,
    }
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\n{kind} m{n}-k{k}: {figures['ns_per_draw']:.2f} ns a draw, "
            f"{figures['times_numpy']:.1f} times NumPy's SFC64"
        )
