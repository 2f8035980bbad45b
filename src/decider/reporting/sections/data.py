"""Data warnings, before any number: do the logged propensities hold, what was left out, what is thin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decider.evaluation import PropensityCheck
from decider.reporting.charts import Row, interval_chart
from decider.reporting.forms import number
from decider.reporting.page import Figure, Finding, Key, Section, Table
from decider.reporting.svg import Axis

LOUD_Z = 4.0
"""Beyond it a false alarm has probability 6e-5."""


@dataclass(frozen=True)
class DataView:
    """What is to be known of the log.

    Parameters
    ----------
    n_rows, n_members
        Of the whole log.
    checks
        Of every arm's propensities.
    sample_ratio
        Probability of arms coming as unevenly as they did.
    least_sample_ratio
        Below it no policy is judged.
    warnings, notes
        What else must, or may, be known.
    """

    n_rows: int
    n_members: int
    checks: Sequence[PropensityCheck]
    sample_ratio: float
    least_sample_ratio: float
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


def data_section(view: DataView) -> Section:
    """Warnings first, then how often each arm was given against its propensities."""
    findings = [Finding("warning", text) for text in view.warnings]
    wrong = [check for check in view.checks if abs(check.z) > LOUD_Z]
    if view.sample_ratio < view.least_sample_ratio:
        findings.append(
            Finding(
                "warning",
                f"The arms do not come as often as their propensities say (p = {view.sample_ratio:.1g}): "
                "no policy is judged.",
            )
        )
    findings += [
        Finding(
            "warning",
            f"{check.arm} was given {check.ratio:.3f} times as often as its propensities say (z = {check.z:+.1f}).",
        )
        for check in wrong
    ]
    if not wrong:
        findings.append(
            Finding(
                "good",
                f"Logged propensities agree with how often each arm was given (p = {view.sample_ratio:.2g}).",
            )
        )
    findings += [Finding("note", text) for text in view.notes]
    lead = f"{view.n_rows:,} logged rows of {view.n_members:,} members. What is wrong with them stands first."
    return Section("data", "Data warnings", lead, "Warnings", findings, [_ratios(view)])


def _ratios(view: DataView) -> Figure:
    def draw(width: int) -> str:
        return interval_chart(
            [
                Row(
                    check.arm,
                    check.ratio,
                    (check.ratio - 1.96 * check.standard_error, check.ratio + 1.96 * check.standard_error),
                    f"{check.ratio:.4f}",
                    hue=2 if abs(check.z) > LOUD_Z else 1,
                )
                for check in view.checks
            ],
            Axis("times given, over times expected", number, include=(0.99, 1.01)),
            "How often each arm was given, over how often its propensities say: "
            + ", ".join(f"{check.arm} {check.ratio:.3f}" for check in view.checks),
            width,
            reference=1.0,
        )

    return Figure(
        "Given over expected, by arm",
        draw,
        Table(
            ("arm", "given over expected", "standard error", "z"),
            [
                (check.arm, f"{check.ratio:.5f}", f"{check.standard_error:.5f}", f"{check.z:+.2f}")
                for check in view.checks
            ],
        ),
        "True propensities give 1. Lines are 95 % intervals.",
        [Key("estimate and 95 % interval", "line", 1), Key("what true propensities give", "reference")],
    )
