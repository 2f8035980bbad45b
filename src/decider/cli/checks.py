"""Checks of the machine: Python, packages, processor, compiled kernels."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from llvmlite import binding

from decider_core import compile as compiling
from decider_core.explore import THOMPSON, policy_values
from decider_core.random import DRAW, stream_key
from decider_core.score import pack_posterior, posterior_moments

_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)>=([0-9.]+)$")


class Finding(NamedTuple):
    """What a check came to."""

    verdict: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""
    """What to do about it; empty when all is well."""


def python() -> Finding:
    """Is it new enough."""
    version = platform.python_version()
    if _numbers(version) < (3, 11):
        return Finding("fail", version, "install Python 3.11 or newer")
    return Finding("ok", f"{version} at {sys.executable}")


def packages() -> Finding:
    """Is everything installed, and new enough."""
    try:
        required = metadata.requires("decider") or []
    except metadata.PackageNotFoundError:
        return Finding(
            "warn", "decider runs from its source folder", "pip install . to check its requirements"
        )
    versions, lacking = [], []
    for line in required:
        match = _REQUIREMENT.match(line)
        if match is None:  # an extra, which need not be there
            continue
        name, least = match.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking.append(f"{name} is missing")
            continue
        versions.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            lacking.append(f"{name} must be at least {least}, got {version}")
    if lacking:
        return Finding("fail", "; ".join(lacking), "pip install --upgrade decider")
    return Finding("ok", ", ".join(versions))


def processor() -> Finding:
    """What it can do in one instruction, and how many threads there are."""
    features = {name for name, there in binding.get_host_cpu_features().items() if there}
    wide = [name for name in ("avx512f", "avx2", "fma", "neon", "sve") if name in features]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = (
        f"{binding.get_host_cpu_name()} with {', '.join(wide) or 'no vector extension'}, {threads} threads"
    )
    if not {"fma", "neon"} & features:
        return Finding("warn", found, "decisions are right but slow: use a processor with FMA")
    return Finding("ok", found)


def kernel_cache() -> Finding:
    """Can compiled kernels be kept, and are some."""
    if compiling.INTERPRETED:
        return Finding(
            "warn", "NUMBA_DISABLE_JIT is set: kernels run as plain Python", "unset NUMBA_DISABLE_JIT"
        )
    folder = compiling.cache_folder()
    if folder is None:
        remedy = "set NUMBA_CACHE_DIR to a folder that can be written"
        return Finding("warn", "no folder can be written: every process compiles anew", remedy)
    n_compiled = len(list(Path(folder).glob("**/*.nbc")))
    if not n_compiled:
        return Finding("ok", f"{folder}, empty: the first start compiles for a minute or so")
    return Finding("ok", f"{folder}, {n_compiled} compiled kernels")


def kernels() -> Finding:
    """Does a member decided alone get the bits that it gets in a batch."""
    started = time.perf_counter()
    n_members, n_candidates, size = 37, 3, 5
    rng = np.random.default_rng(20)
    root = rng.normal(size=(n_candidates, size, size))
    packed = pack_posterior(rng.normal(size=(n_candidates, size)), root @ root.transpose(0, 2, 1))
    z = rng.normal(size=(n_members, size)).astype(np.float32)
    members = np.arange(n_members).astype(np.uint64)
    candidates = np.arange(n_candidates).astype(np.uint64)
    stream = stream_key(1, DRAW)

    def values(rows: slice) -> bytes:
        empty = np.zeros((0, n_candidates, len(z[rows])), np.float32)
        mean, sd = posterior_moments(packed, z[rows], empty)
        drawn = policy_values(THOMPSON, mean, sd, 1.0, stream, members[rows], candidates)
        return np.ascontiguousarray(np.stack([mean, sd, drawn]).transpose(2, 0, 1)).tobytes()

    together = values(slice(0, n_members))
    alone = b"".join(values(slice(place, place + 1)) for place in range(n_members))
    took = f"{time.perf_counter() - started:.1f} s"
    if together != alone:
        remedy = "do not decide on this machine: report its processor and the versions above"
        return Finding("fail", "a member alone and in a batch get other bits", remedy)
    return Finding("ok", f"{n_members} members alone and together agree in every bit ({took})")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
