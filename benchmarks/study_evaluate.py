"""Time and memory of `decider evaluate` and `frontier`: ``python -m benchmarks.study_evaluate [ROWS] ...``.

For each number of rows (1e6 and 5e6 unless given) it writes a log of 32 features, three arms and two rewards,
part by part. A model of known effects is judged at a volume of 30 %, beside the constant policies and a random
one, by every estimator with 1,000 resamples and opt-outs; then its frontier is drawn. Printed are seconds and rows
a second, start included, and the peak of the process's memory.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from decider.logbook.feedback import PART_ROWS, Feedback, seal_parts
from decider.models import RawMap, UpliftModel, save_model

ROWS = (1_000_000, 5_000_000)
SMALL = 20_000
COMMANDS = {"evaluate": ("--volume", "30%"), "frontier": ("--exchange-rate", "0.03")}
N_FEATURES = 32
ARMS = ("none", "sale", "news")
CHANCES = np.array([0.4, 0.35, 0.25])
FEATURES = [f"f{j:02d}" for j in range(N_FEATURES)]
# The peak is read by the process itself: what the system tells its parent begins with the parent's own.
_LAUNCH = """
import sys
from pathlib import Path
from decider.cli.main import app
sys.argv[0] = "decider"
try:
    app()
finally:
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


def effects() -> np.ndarray:
    """Coefficients of each message's effect on the chance of a visit, float64 of shape [2, 1 + 32]."""
    g = np.random.default_rng(1)
    slopes = g.normal(0.0, 0.01, (2, N_FEATURES))
    return np.concatenate([[[0.04], [0.02]], slopes], axis=1)


def parts(n_rows: int) -> Iterator[pl.DataFrame]:
    """Rows of a trial with varying propensities, a million at a time."""
    mean = effects()
    for place, first in enumerate(range(0, n_rows, PART_ROWS)):
        n = min(PART_ROWS, n_rows - first)
        g = np.random.default_rng((7, place))
        x = g.standard_normal((n, N_FEATURES), dtype=np.float32)
        propensity = CHANCES * np.exp(0.2 * x[:, :1].astype(np.float64) * np.array([0.0, 1.0, -1.0]))
        propensity /= propensity.sum(axis=1, keepdims=True)
        arm = (g.random(n)[:, None] > propensity.cumsum(axis=1)[:, :2]).sum(axis=1)
        chance = 0.2 + 0.02 * x[:, 1].astype(np.float64)
        for code in (1, 2):
            given = arm == code
            chance[given] += mean[code - 1, 0] + x[given] @ mean[code - 1, 1:]
        visit = (g.random(n) < np.clip(chance, 0, 1)).astype(np.float64)
        left = (g.random(n) < 0.002 + 0.004 * (arm > 0)).astype(np.float64)
        yield pl.DataFrame(
            {"member_id": np.arange(first, first + n), "arm": pl.Series(ARMS).gather(arm)}
            | {"propensity": propensity[np.arange(n), arm]}
            | {f"p:{name}": propensity[:, code] for code, name in enumerate(ARMS)}
            | {"y:visit": visit, "y:left": left}
            | {f"x:{name}": x[:, j] for j, name in enumerate(FEATURES)}
        )


def write(n_rows: int, folder: Path) -> tuple[Path, Path]:
    """Write the log and the model."""
    log: Feedback = seal_parts(
        parts(n_rows), folder / f"log-{n_rows}", arms=list(ARMS), control=ARMS[0], rewards=["visit", "left"],
        feature_names=FEATURES, facts={},
    )  # fmt: skip
    mean = effects()
    model = UpliftModel(
        name="known",
        feature_map=RawMap(tuple(FEATURES), np.zeros(N_FEATURES), np.ones(N_FEATURES)),
        posterior_names=ARMS[1:],
        mean=mean,
        covariance=np.full(mean.shape, 1e-6),
        reward="visit",
    )
    save_model(model, folder / f"model-{n_rows}")
    return log.path, folder / f"model-{n_rows}"


def measured(command: str, log: Path, model: Path) -> tuple[float, float]:
    """Seconds and peak resident memory in MiB of one command."""
    arguments = [sys.executable, "-c", _LAUNCH, command, str(log), "--reward", "visit", "--model", str(model),
                 "--opt-outs", "left", "--json", *COMMANDS[command]]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds, int(done.stderr.split()[-1]) / 1024


def main() -> None:
    """Print the table."""
    sizes = [int(float(text)) for text in sys.argv[1:]] or list(ROWS)
    with TemporaryDirectory(prefix="decider-evaluate-") as name:
        folder = Path(name)
        small = write(SMALL, folder)
        for command in COMMANDS:
            measured(command, *small)  # kernels are compiled and kept
        print(f"{'command':>9} {'rows':>12} {'seconds':>8} {'rows/s':>10} {'peak MiB':>9}")
        for n_rows in (SMALL, *sizes):
            log, model = small if n_rows == SMALL else write(n_rows, folder)
            for command in COMMANDS:
                seconds, peak = measured(command, log, model)
                rate = n_rows / seconds
                print(f"{command:>9} {n_rows:>12,} {seconds:>8.1f} {rate:>10,.0f} {peak:>9,.0f}", flush=True)


if __name__ == "__main__":
    main()
