"""The compile policy: what kernels are made of, and a cache that is used and never stale."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import decider_core
from decider_core import score
from decider_core.compile import INTERPRETED, as_f32, as_i32, cache_folder, fma, inline, kernel

compiled = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")

PROBE = """
import json
import numpy as np
from decider_core import compile, random, score

packed = score.pack_posterior(np.ones((2, 3)), np.ones((2, 3)))
mean, sd = score.posterior_moments(packed, np.ones((1, 3), np.float32))
normal = random.normals(np.uint64(1), np.ones(1, np.uint64), np.ones(1, np.uint64))
kernels = (score._moments, random._normals)
print(json.dumps({
    "folder": compile.cache_folder(),
    "mean": float(mean[0, 0]),
    "compiled": sum(sum(k.stats.cache_misses.values()) for k in kernels),
    "loaded": sum(sum(k.stats.cache_hits.values()) for k in kernels),
}))
"""


@inline
def _fma_of(a, b, c):
    return fma(a, b, c)


@kernel
def _call_intrinsics(numbers, out):
    out[0] = _fma_of(numbers[0], numbers[1], numbers[2])
    out[1] = as_f32(as_i32(numbers[0]))


@kernel
def _wrap_and_divide(numbers, out):
    out[0] = np.float64(numbers[0] * numbers[0] >> np.uint64(63))
    out[1] = np.float64(1.0) / np.float64(numbers[1])


def test_fma_rounds_once():
    # (1 + e)(1 - e) - 1 = -e^2, which the product rounded to float32 loses.
    e = np.float32(2.0**-20)
    numbers = np.array([1 + e, 1 - e, -1], np.float32)
    out = np.empty(2, np.float32)
    _call_intrinsics(numbers, out)
    assert out[0] == -(2.0**-40)
    assert numbers[0] * numbers[1] + numbers[2] == 0.0
    assert out[1] == numbers[0]


def test_kernels_wrap_integers_and_divide_by_zero_without_a_word():
    out = np.empty(2)
    _wrap_and_divide(np.array([2**64 - 1, 0], np.uint64), out)
    np.testing.assert_array_equal(out, [0.0, np.inf])


@compiled
def test_kernels_release_the_lock_and_are_not_parallel():
    options = score._moments.targetoptions
    assert options["nogil"]
    assert options["error_model"] == "numpy"
    assert not options.get("parallel", False)
    assert not options.get("fastmath", False)


@compiled
def test_one_compilation_serves_mapped_and_allocated_arrays(tmp_path):
    np.save(tmp_path / "z.npy", np.ones((2, 3), np.float32))
    packed = score.pack_posterior(np.ones((2, 3)), np.ones((2, 3)))
    score.posterior_moments(packed, np.ones((2, 3), np.float32))
    compiled_for = list(score._moments.signatures)
    score.posterior_moments(packed, np.load(tmp_path / "z.npy", mmap_mode="r"))
    assert score._moments.signatures == compiled_for


def probe(sources: Path, cache: Path, **variables: str) -> dict:
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(sources)}
    environment |= {"NUMBA_CACHE_DIR": str(cache)} | variables
    command = [sys.executable, "-W", "error", "-c", PROBE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@compiled
@pytest.mark.slow
def test_a_second_process_compiles_nothing_until_a_source_or_a_flag_changes(tmp_path):
    sources, cache = tmp_path / "sources", tmp_path / "cache"
    shutil.copytree(
        Path(decider_core.__file__).parent, sources / "decider_core", ignore=shutil.ignore_patterns("__*__")
    )
    (sources / "decider_core" / "__init__.py").touch()
    first = probe(sources, cache)
    assert first["compiled"] == 2
    assert Path(first["folder"]).parent == cache

    second = probe(sources, cache)
    assert second == first | {"compiled": 0, "loaded": 2}

    checked = probe(sources, cache, NUMBA_BOUNDSCHECK="1")
    assert checked["folder"] != first["folder"]
    assert checked["compiled"] == 2

    # A callee in another file than the kernel's: numba alone would run the old code.
    callee = sources / "decider_core" / "microkernel.py"
    callee.write_text(
        callee.read_text().replace("zeros = [ZEROS]", "zeros = [vectors.constants(vectors.FLOATS, 1.0)]")
    )
    changed = probe(sources, cache)
    assert changed["folder"] != first["folder"]
    assert changed["compiled"] == 2
    assert changed["mean"] == first["mean"] + 1.0


@compiled
def test_a_cache_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").touch()
    sources = Path(decider_core.__file__).parents[1]
    environment = {"PYTHONPATH": str(sources), "NUMBA_CACHE_DIR": str(tmp_path / "file")}
    command = [sys.executable, "-c", "from decider_core import compile; print(compile.cache_folder())"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    assert "kernels will compile anew in every process" in done.stderr


@compiled
def test_the_cache_is_ours_alone():
    folder = cache_folder()
    assert folder is not None
    assert Path(folder).is_dir()
    # Other users of numba in the process keep their own setting.
    import numba

    assert folder != numba.config.CACHE_DIR
