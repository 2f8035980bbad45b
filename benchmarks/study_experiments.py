"""What experiments promise, held against streams whose truth is known.

``python benchmarks/study_experiments.py [STREAMS]``: 2,000 streams unless told otherwise; a few minutes.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import numpy as np

from decider.experiments import (
    Experiment,
    Looks,
    MetricColumns,
    Outcomes,
    fit_surrogates,
    metric_effect,
    read_out,
)
from decider.experiments.ratios import SHARES_CONCENTRATION
from decider.experiments.spec import Cell, LongTerm, Metric
from decider.simulation.long_run import LongRun, LongRunSpec, live
from decider_core.moments import add_members, no_moments
from decider_core.sequences import share_evidence

THREADS = 2
STEP, LOOKS = 1_000, 100
PLAN = Looks(planned_members=50_000, first_look=400)
METRICS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda g, n: g.normal(size=n),
    "yes or no, 5 %": lambda g, n: (g.random(n) < 0.05).astype(float),
    "yes or no, 0.5 %": lambda g, n: (g.random(n) < 0.005).astype(float),
    "minutes, log-normal": lambda g, n: g.lognormal(sigma=1.2, size=n),
}


def watch_alike(kind: str, seed: int) -> tuple[bool, bool, bool]:
    """One A/A stream: a false alarm of the sequence; of a t-test at every look; of a t-test at the last one."""
    g = np.random.default_rng((seed, list(METRICS).index(kind)))
    moments = no_moments(2, 1)
    sequence = watched = last = False
    for _ in range(LOOKS):
        cells = (g.random(STEP) < 0.5).astype(np.uint8)
        add_members(moments, cells, METRICS[kind](g, STEP)[None])
        effect = metric_effect(moments, 1, 0, PLAN)
        sequence |= effect.sign != 0
        # What a test without gates would do: it looks whenever it has a number.
        spread = np.einsum("cmm->cm", moments.covariance())[:, 0]
        error = float(np.sqrt((spread / moments.counts).sum()))
        last = error > 0 and abs(float(moments.means[1, 0] - moments.means[0, 0])) > 1.96 * error
        watched |= last
    return sequence, watched, last


def adjust(rho: float, seed: int) -> tuple[float, float, float]:
    """One experiment without an effect: the estimate with and without CUPED, the reduction that it reports."""
    g = np.random.default_rng((seed, int(100 * rho)))
    n = 2_000
    before = g.normal(size=n)
    during = rho * before + np.sqrt(1 - rho**2) * g.normal(size=n)
    moments = no_moments(2, 2)
    add_members(moments, (g.random(n) < 0.5).astype(np.uint8), np.stack([during, before]))
    found = metric_effect(moments, 1, 0, PLAN, covariate=True)
    return float(moments.means[1, 0] - moments.means[0, 0]), found.value, found.variance_reduction


def shared_out(share: float, n_looks: int, seed: int) -> int | None:
    """Members until the sample ratio was found wrong at 0.001; None if it never was."""
    first = np.random.default_rng(seed).binomial(STEP, share, n_looks).astype(float)
    counts = np.stack([first, STEP - first], axis=1)
    wrong = share_evidence(counts, np.full((n_looks, 2), 0.5), SHARES_CONCENTRATION) >= np.log(1_000)
    return (int(np.argmax(wrong)) + 1) * STEP if wrong.any() else None


def false_alarms(n_streams: int, pool: ProcessPoolExecutor) -> None:
    print(
        f"A/A: {n_streams} streams, a look after every {STEP} members, {STEP * LOOKS} in all; false alarms at 5 %"
    )
    print(f"{'metric':24}{'sequence':>12}{'t, watched':>12}{'t, at the end':>15}")
    for kind in METRICS:
        found = np.array(list(pool.map(watch_alike, repeat(kind), range(n_streams), chunksize=20)))
        sequence, watched, last = found.mean(axis=0)
        print(f"{kind:24}{sequence:12.2%}{watched:12.1%}{last:15.1%}")


def cuped(n_streams: int, pool: ProcessPoolExecutor) -> None:
    print(f"\nCUPED: variance left, over {n_streams} experiments of 2,000 members")
    print(f"{'rho':>5}{'1 - rho^2':>12}{'of estimates':>14}{'s.e.':>8}{'reported':>10}")
    for rho in (0.3, 0.6, 0.9):
        plain, adjusted, taken_off = np.array(
            list(pool.map(adjust, repeat(rho), range(n_streams), chunksize=50)), float
        ).T
        left = adjusted.var() / plain.var()
        # Of a ratio of variances of pairs with correlation sqrt(1 - rho^2).
        error = left * np.sqrt(4 * rho**2 / n_streams)
        print(f"{rho:5.1f}{1 - rho**2:12.4f}{left:14.4f}{error:8.4f}{1 - taken_off.mean():10.4f}")


def sample_ratio(n_streams: int, pool: ProcessPoolExecutor) -> None:
    print("\nSample ratio, alpha 0.001, a look after every 1,000 members, 1,000,000 in all")
    for share in (0.5, 0.505, 0.51):
        found = list(pool.map(shared_out, repeat(share), repeat(1_000), range(n_streams), chunksize=20))
        caught = [n for n in found if n is not None]
        when = f"median {np.median(caught):,.0f} members, latest {max(caught):,}" if caught else ""
        print(f"{share:6.1%} : {1 - share:.1%}   found wrong {len(caught)} of {n_streams}   {when}")


def flip() -> None:
    """The world where many messages win at first and lose over the year."""
    world, n, few, many = LongRunSpec(), 100_000, 2, 6
    surrogates = ("visits", "delivered", "unsubscribed")
    # A year ago: members with this many messages a week, drawn at random, and what became of them.
    volume = np.random.default_rng(0).integers(1, 8, n)
    past = live(world, volume, 52, seed=1)
    index = fit_surrogates(surrogates, early(past, 4), past.visits.sum(axis=0))
    cells = 1 + (np.random.default_rng(2).random(n) < 0.5).astype(np.uint8)
    year = live(world, np.where(cells == 2, many, few), 52, seed=3)
    experiment = sign_flip_experiment(surrogates)
    print(
        f"\nSign flip: {few} or {many} messages a week, {n:,} members, choice due after week 8; visits a member"
    )
    for weeks in (4, 8):
        found = read_out(experiment, outcomes_of(year, cells, weeks), index).long_term[0]
        print(f"  seen after week {weeks}")
        for name in ("short", "index", "trend"):
            effect = getattr(found, name)
            if effect.value is not None:
                print(
                    f"    {name:8}{effect.value:+9.3f}  [{effect.interval.low:+.3f}, {effect.interval.high:+.3f}]"
                )
        for alarm in found.alarms:
            print(f"    ALARM in week {alarm.week}, in time: {alarm.in_time}; {alarm.by}: {alarm.says}")
    whole = read_out(experiment, outcomes_of(year, cells, 52)).long_term[0]
    first = next((alarm for alarm in whole.alarms if alarm.by == "measured"), None)
    print(
        f"    without history the alarm comes in week {first.week if first else 'never'}, by the latest weeks alone"
    )
    truth = year.visits[:, cells == 2].sum(axis=0).mean() - year.visits[:, cells == 1].sum(axis=0).mean()
    print(
        f"  the year itself: {truth:+.2f} visits; the index said {found.index.value:+.2f} (R2 {found.r_squared:.2f})"
    )


def early(lived: LongRun, weeks: int) -> np.ndarray:
    return np.stack([part[:weeks].sum(axis=0) for part in (lived.visits, lived.delivered, lived.opted_out)])


def sign_flip_experiment(surrogates: tuple[str, ...]) -> Experiment:
    start = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
    return Experiment(
        name="more-messages",
        salt="flip",
        start=start,
        end=start + datetime.timedelta(weeks=52),
        decision=start + datetime.timedelta(weeks=8),
        control="few",
        cell=[Cell(name="few", policy="few", share=0.5), Cell(name="many", policy="many", share=0.5)],
        metric=[Metric(name=name) for name in surrogates],
        planned_members=100_000,
        long_term=LongTerm(metric="visits", short_weeks=4, late_weeks=2, surrogates=list(surrogates)),
    )


def outcomes_of(lived: LongRun, cells: np.ndarray, weeks: int) -> Outcomes:
    weekly = dict(
        zip(
            ("visits", "delivered", "unsubscribed"),
            (part[:weeks] for part in (lived.visits, lived.delivered, lived.opted_out)),
            strict=True,
        )
    )
    metrics = {name: MetricColumns(each.sum(axis=0)) for name, each in weekly.items()}
    triggered = np.bincount(cells, minlength=3).astype(float)[None]
    return Outcomes(cells, metrics, triggered, weekly=weekly)


def study(n_streams: int) -> None:
    with ProcessPoolExecutor(THREADS) as pool:
        false_alarms(n_streams, pool)
        cuped(n_streams, pool)
        sample_ratio(max(n_streams // 10, 20), pool)
    flip()


if __name__ == "__main__":
    study(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
