"""Bias, error and coverage of every estimator over logs of a world whose truth is known.

``python benchmarks/study_coverage.py [LOGS] [ROWS] [PLOT.svg]``: 1,000 logs of 20,000 rows unless told otherwise.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import altair as alt
import numpy as np
import polars as pl

from decider.evaluation import Limits, Logged, PolicyEstimates, judge_policy

ARMS = ("nothing", "sale@email", "sale@push", "news@email")
GROUPS = np.array([0, 1, 1, 2])
KINDS = ("normal", "bootstrap", "anytime", "bernstein")
THREADS = 2
HUES = ["#d55e00", "#0072b2", "#009e73", "#cc79a7"]
FORMS = ("value", "increment")
WRONG_CHANCES = "wrong chances"
"""DR and IPS once more, of a log whose propensities are wrong; the reward model of DR is then right."""

Row = tuple[float, ...]


def chances(x: np.ndarray) -> np.ndarray:
    """P(reward = 1) of every row under every arm; the two sales have one effect, as MIPS supposes."""
    base, sale, news = -1.5 + 0.5 * x[:, 0], 0.5 + 0.5 * x[:, 1], 0.3 - 0.5 * x[:, 1]
    return 1 / (1 + np.exp(-np.stack([base, base + sale, base + sale, base + news], axis=1)))


def policy_of(x: np.ndarray) -> np.ndarray:
    """Send the sale by push where the second feature is positive, else the news."""
    return np.where(x[:, 1] > 0, 2, 3).astype(np.int64)


def logged(seed: int, n: int) -> Logged:
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, 2)).astype(np.float32)
    strength = np.stack([np.zeros(n), x[:, 0], 0.5 * x[:, 1], -0.5 * x[:, 1]], axis=1)
    propensity = np.exp(strength)
    propensity /= propensity.sum(axis=1, keepdims=True)
    arm = (g.random(n)[:, None] > propensity.cumsum(axis=1)[:, :-1]).sum(axis=1)
    reward = (g.random(n) < chances(x.astype(float))[np.arange(n), arm]).astype(float)
    keys = np.arange(n, dtype=np.uint64)
    return Logged(ARMS, 0, "visit", ("a", "b"), x, arm.astype(np.int64), reward, propensity, keys)


def truth() -> dict[str, float]:
    """The policy's value, and its increment over nothing."""
    x = np.random.default_rng(2**31).normal(size=(4_000_000, 2))
    p = chances(x)
    value = p[np.arange(len(x)), policy_of(x)]
    return {"value": float(value.mean()), "increment": float((value - p[:, 0]).mean())}


def one(arguments: tuple[int, int]) -> dict[tuple[str, str], Row]:
    seed, n = arguments
    log = logged(seed, n)
    right = chances(log.x.astype(float))
    # A reward model that is wrong: half the truth.
    found = judge_policy(
        policy_of(log.x), log, 0.5 * right, groups=GROUPS, reward_range=(0.0, 1.0), n_resamples=400, seed=seed
    )
    rows = _rows(found, "")
    # All arms as likely as another, says this log: IPS goes wrong, DR is held by its model.
    lying = replace(log, propensity=np.full_like(log.propensity, 1 / len(ARMS)))
    no_gate = Limits(sample_ratio=0.0)
    believed = judge_policy(
        policy_of(log.x), lying, right, estimators=("ips", "dr"), n_resamples=400, seed=seed, limits=no_gate
    )
    refused = judge_policy(policy_of(log.x), lying, estimators=("ips",), n_resamples=0)
    rows |= _rows(believed, f", {WRONG_CHANCES}")
    rows["noticed", ""] = (float(refused.values["ips"].value is None),)
    return rows


def _rows(found: PolicyEstimates, suffix: str) -> dict[tuple[str, str], Row]:
    rows = {}
    for form, estimates in zip(FORMS, (found.values, found.incremental), strict=True):
        for name, each in estimates.items():
            ends = [end for kind in KINDS for end in (getattr(each, kind) or (np.nan, np.nan))]
            rows[form, name + suffix] = (each.value, *ends)
    return rows


def study(n_logs: int, n_rows: int) -> pl.DataFrame:
    """Judge one policy on `n_logs` logs; one row an estimator and form."""
    true = truth()
    drawn: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with ProcessPoolExecutor(THREADS) as pool:
        for rows in pool.map(one, ((seed, n_rows) for seed in range(n_logs)), chunksize=5):
            for key, row in rows.items():
                drawn[key].append(row)
    noticed = np.mean(drawn.pop(("noticed", "")))
    print(f"{n_logs} logs of {n_rows} rows; truth {true['value']:.5f}, increment {true['increment']:.5f}")
    print(f"logs with wrong propensities that were refused: {noticed:.3f}")
    return pl.DataFrame([_measured(key, np.array(rows, float), true) for key, rows in drawn.items()])


def _measured(key: tuple[str, str], rows: np.ndarray, true: Mapping[str, float]) -> dict[str, object]:
    form, name = key
    errors = rows[:, 0] - true[form]
    covers = (rows[:, 1::2] <= true[form]) & (true[form] <= rows[:, 2::2])
    known = np.isfinite(rows[:, 1::2])
    shares = {
        kind: float(covers[known[:, k], k].mean()) if known[:, k].any() else None
        for k, kind in enumerate(KINDS)
    }
    return {
        "form": form,
        "estimator": name,
        "bias": float(errors.mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        **shares,
    }


def printed(table: pl.DataFrame) -> None:
    """The table as a page of documentation holds it."""
    for form in FORMS:
        print(f"\n| {form} | bias | RMSE | " + " | ".join(KINDS) + " |\n|---|" + "---|" * (2 + len(KINDS)))
        for row in table.filter(pl.col("form") == form).to_dicts():
            shares = ("" if row[kind] is None else f"{row[kind]:.3f}" for kind in KINDS)
            cells = (row["estimator"], f"{row['bias']:.5f}", f"{row['rmse']:.5f}", *shares)
            print("| " + " | ".join(cells) + " |")


def drawn_plot(table: pl.DataFrame) -> alt.HConcatChart:
    """Bias and RMSE of the value beside the coverage of its intervals."""
    # IPS with wrong propensities is wrong by more than the axes hold: that it is, the table says.
    plain = table.filter((pl.col("form") == "value") & (pl.col("estimator") != f"ips, {WRONG_CHANCES}"))
    order = plain["estimator"].to_list()
    y = alt.Y("estimator:N", sort=order, title=None)
    errors = plain.select("estimator", pl.col("bias").abs().alias("|bias|"), pl.col("rmse").alias("RMSE"))
    base = alt.Chart(errors.unpivot(index="estimator", variable_name="what", value_name="error"))
    names = ["|bias|", "RMSE"]
    error = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("error:Q", scale=alt.Scale(type="log"), title="error of the value, log scale"),
        y=y,
        color=alt.Color("what:N", scale=alt.Scale(domain=names, range=HUES[:2]), title=None),
        shape=alt.Shape("what:N", scale=alt.Scale(domain=names), title=None),
    )
    kinds = list(KINDS)
    covered = plain.unpivot(kinds, index="estimator", variable_name="interval", value_name="share")
    x = alt.X("share:Q", scale=alt.Scale(domain=[0.925, 1.0], nice=False), title="coverage of 95 % intervals")
    wanted = pl.DataFrame({"share": [0.935], "high": [0.965]})
    band = alt.Chart(wanted).mark_rect(color="#999999", opacity=0.25).encode(x=x, x2="high:Q")
    share = (
        alt.Chart(covered.drop_nulls())
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            x=x,
            y=alt.Y("estimator:N", sort=order, title=None, axis=alt.Axis(labels=False)),
            color=alt.Color("interval:N", scale=alt.Scale(domain=kinds, range=HUES), title=None),
            shape=alt.Shape("interval:N", scale=alt.Scale(domain=kinds), title=None),
        )
    )
    charts = (error.properties(width=300), (band + share).properties(width=300))
    return alt.hconcat(*charts).resolve_scale(color="independent", shape="independent")


if __name__ == "__main__":
    given = sys.argv[1:]
    result = study(*(int(float(text)) for text in (*given[:2], *("1000", "20000")[len(given[:2]) :])))
    printed(result)
    if len(given) > 2:
        drawn_plot(result).save(given[2])
