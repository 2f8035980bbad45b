"""How the chain of W1 scales, and its roofline: ``python -m benchmarks.study_scaling [DIRECTORY]``.

Prints tables of candidates, features, members and threads; writes ``scaling.svg`` and ``roofline.svg`` into the
directory, docs unless told otherwise. Limits on, full covariances, one thread unless said.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from decider.bench.chain import CHUNK, Chain, multiply_adds
from decider.bench.threads import SQUARE, square_product, together
from decider.bench.timing import median_seconds

CANDIDATES = (8, 16, 32, 64, 128, 256, 512)
FEATURES = (8, 16, 32, 64, 128)
MEMBERS = (10_000, 100_000, 1_000_000, 10_000_000, 30_000_000)
MAPPED = 4_000_000
ROUND_SECONDS = 0.02
CLOCK = time.thread_time
"""Of this thread's processor: what else runs does not count."""


def sizes() -> pl.DataFrame:
    """Nanoseconds a member by candidates and by features, and the share of the sgemm bound."""
    rows = []
    for axis, shapes in (
        ("candidates", [(k, 32) for k in CANDIDATES]),
        ("features", [(32, d) for d in FEATURES]),
    ):
        for k, d in shapes:
            chain = Chain("full", True, k=k, d=d)
            seconds, sgemm, *steps = median_seconds(
                chain, square_product(), *chain.steps.values(), round_seconds=ROUND_SECONDS, clock=CLOCK
            )
            work = multiply_adds("full", k, d)
            bound = sgemm * work / SQUARE**3
            told = {name: s / CHUNK * 1e9 for name, s in zip(chain.steps, steps, strict=True)}
            rows.append(
                {"axis": axis, "k": k, "d": d, "ns_per_member": seconds / CHUNK * 1e9,
                 "ns_per_multiply_add": seconds / CHUNK / work * 1e9, "share_of_sgemm": bound * CHUNK / seconds}
                | told
            )  # fmt: skip
    return pl.DataFrame(rows)


def members() -> pl.DataFrame:
    """Nanoseconds a member for more and more members, chunk after chunk through one block."""
    chain = Chain("full", True)
    rests = {n % CHUNK: Chain("full", True, n=n % CHUNK) for n in MEMBERS}

    def run(n: int) -> Callable[[], None]:
        def all_chunks() -> None:
            for _ in range(n // CHUNK):
                chain()
            rests[n % CHUNK]()

        return all_chunks

    rows = []
    for n in MEMBERS:
        rounds = 11 if n <= 1_000_000 else 1
        seconds = median_seconds(run(n), rounds=rounds, clock=CLOCK)[0]
        rows.append(
            {"members": n, "from": "one block", "seconds": seconds, "ns_per_member": seconds / n * 1e9}
        )
    with TemporaryDirectory() as folder:
        rows.append(mapped(Path(folder) / "features", chain))
    return pl.DataFrame(rows)


def mapped(path: Path, chain: Chain) -> dict[str, Any]:
    """The same with features that lie in a mapped file."""
    d = chain.z.shape[1]
    g = np.random.default_rng(3)
    with path.open("wb") as file:
        for _ in range(MAPPED // CHUNK):
            g.standard_normal((CHUNK, d), np.float32).tofile(file)
    z = np.memmap(path, np.float32, "r", shape=(MAPPED // CHUNK * CHUNK, d))
    own, n = chain.z, len(z)
    start = CLOCK()
    for first in range(0, n, CHUNK):
        chain.z = np.asarray(z[first : first + CHUNK])
        chain()
    seconds = CLOCK() - start
    chain.z = own
    return {"members": n, "from": "a mapped file", "seconds": seconds, "ns_per_member": seconds / n * 1e9}


def threads() -> pl.DataFrame:
    """Members a second on one thread and on two, in turn, and how sgemm scales beside them: the machine's own."""
    chain = _on_threads([Chain("full", True, seed=seed) for seed in range(2)], 24)
    sgemm = _on_threads([square_product(), square_product()], 2)
    return pl.DataFrame(
        {
            "threads": [1, 2],
            "members_per_second": [CHUNK * rate for rate in chain],
            "times": [rate / chain[0] for rate in chain],
            "sgemm_times": [rate / sgemm[0] for rate in sgemm],
        }
    )


def _on_threads(calls: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """Calls a second of the first alone, and of both at once."""
    one, two = median_seconds(together(calls[:1], turns), together(calls, turns), rounds=25)
    return [turns / one, 2 * turns / two]


def roofline() -> pl.DataFrame:
    """Operations a byte and a second of each step; a multiply-add is two, and integers do not count."""
    k, d, places = 32, 32, 3
    chain = Chain("full", True)
    numbers = np.random.default_rng(0).random(1 << 26, np.float32)
    sgemm, read, *seconds = median_seconds(
        square_product(), numbers.max, *chain.steps.values(), round_seconds=ROUND_SECONDS, clock=CLOCK
    )
    counted = {
        # Moments and fatigue; features in, mean, sd and fatigue out.
        "estimate": (2 * (multiply_adds("full", k, d) + d), 4 * d + 8 * k + 4),
        # Seven multiply-adds for the normal, its scale and shift, one for the value; mean and sd in, value out.
        "draw": (k * 18, 12 * k + 8),
        # Three losses and a comparison for each candidate and place; values, reasons, rooms in, sets out.
        "assemble": (places * k * 4, 5 * k + 2 * (1 + 4 + 8) + 12 + 6 * places),
    }
    rows = [
        {"step": name, "operations_per_byte": operations / n_bytes,
         "gflops": operations * CHUNK / s / 1e9, "ns_per_member": s / CHUNK * 1e9}
        for name, s in zip(chain.steps, seconds, strict=True) if name in counted
        for operations, n_bytes in (counted[name],)
    ]  # fmt: skip
    peak, bandwidth = 2 * SQUARE**3 / sgemm / 1e9, numbers.nbytes / read / 1e9
    return pl.DataFrame(rows).with_columns(peak_gflops=peak, bandwidth_gb=bandwidth)


def scaling_plot(by_size: pl.DataFrame, by_members: pl.DataFrame) -> Any:
    """Time a member by candidates, features and members."""
    panels = [
        _points(
            by_size.filter(pl.col("axis") == axis), column, f"{axis} of a {other}", "ns_per_member", "log"
        )
        for axis, column, other in (("candidates", "k", "member"), ("features", "d", "member"))
    ]
    shown = by_members.filter(pl.col("from") == "one block")
    panels.append(_points(shown, "members", "members", "ns_per_member", "linear"))
    return alt.hconcat(*panels).properties(title="The chain of W1, limits on, one thread: ns a member")


def _points(frame: pl.DataFrame, column: str, title: str, value: str, scale: str) -> Any:
    base = alt.Chart(frame.select(column, value)).encode(
        x=alt.X(
            f"{column}:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="~s")
        ),
        y=alt.Y(f"{value}:Q", title="ns a member", scale=alt.Scale(type=scale, zero=scale == "linear")),
    )
    return (base.mark_line() + base.mark_point(filled=True)).properties(width=250, height=220)


def roofline_plot(steps: pl.DataFrame) -> Any:
    """The steps under what memory and multiply-adds allow."""
    peak, bandwidth = steps["peak_gflops"][0], steps["bandwidth_gb"][0]
    intensity = np.geomspace(0.1, 300.0, 200)
    roof = pl.DataFrame({"operations_per_byte": intensity, "gflops": np.minimum(peak, intensity * bandwidth)})
    x = alt.X("operations_per_byte:Q", title="operations a byte", scale=alt.Scale(type="log", nice=False))
    y = alt.Y("gflops:Q", title="billion operations a second", scale=alt.Scale(type="log"))
    line = alt.Chart(roof).mark_line(color="gray").encode(x=x, y=y)
    marks = alt.Chart(steps.select("step", "operations_per_byte", "gflops")).encode(x=x, y=y)
    names = marks.mark_text(dx=8, align="left").encode(text="step:N")
    title = f"One thread: sgemm {peak:.0f} GFLOP/s, reading {bandwidth:.0f} GB/s"
    return (line + marks.mark_point(filled=True, size=80) + names).properties(
        width=420, height=260, title=title
    )


def study(directory: Path) -> None:
    """Measure, print, draw."""
    with threadpool_limits(1), pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3, tbl_width_chars=200):
        by_size, by_members, by_threads, steps = sizes(), members(), threads(), roofline()
        for frame in (by_size, by_members, by_threads, steps):
            print(frame)
    scaling_plot(by_size, by_members).save(str(directory / "scaling.svg"))
    roofline_plot(steps).save(str(directory / "roofline.svg"))


if __name__ == "__main__":
    study(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs"))
