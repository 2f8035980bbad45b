"""What is told of judged policies: gates first, then every estimator; the same as data and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from decider.cli.output import facts, table
from decider.evaluation import ArmEffect, Estimate, Limits, PolicyEstimates, PropensityCheck

LOUD_Z = 4.0
"""Beyond it a false alarm has probability 6e-5."""


class Verdict(NamedTuple):
    """One policy, what it would earn and what it would use up."""

    policy: str
    found: PolicyEstimates
    volume: Estimate
    cost: Estimate
    opt_outs: PolicyEstimates | None

    @property
    def is_judged(self) -> bool:
        """Whether an estimator has a number that is not a model's word alone."""
        by_data = {name: each for name, each in self.found.values.items() if name != "dm"}
        return any(each.value is not None for each in (by_data or self.found.values).values())


def arm_payload(effect: ArmEffect) -> dict[str, Any]:
    """An arm's average effect as data."""
    return {
        "arm": effect.arm,
        "rows": effect.n_rows,
        "mean": estimate_payload(effect.mean),
        "incrementality": None if effect.incrementality is None else estimate_payload(effect.incrementality),
    }


def payload_of(verdict: Verdict, opt_outs: str | None) -> dict[str, Any]:
    """A judged policy as data."""
    found = verdict.found
    harmful = verdict.opt_outs
    return {
        "policy": verdict.policy,
        "send_share": verdict.volume.value,
        "gates": {"sample_ratio": found.sample_ratio, **found.support._asdict()},
        "values": {name: estimate_payload(each) for name, each in found.values.items()},
        "incremental": {name: estimate_payload(each) for name, each in found.incremental.items()},
        "thresholds": {name: each._asdict() for name, each in found.thresholds.items()},
        "volume": estimate_payload(verdict.volume),
        "cost": estimate_payload(verdict.cost),
        "opt_outs": None
        if harmful is None
        else {
            "reward": opt_outs,
            "values": {name: estimate_payload(each) for name, each in harmful.values.items()},
            "incremental": {name: estimate_payload(each) for name, each in harmful.incremental.items()},
        },
    }


def estimate_payload(estimate: Estimate) -> dict[str, Any]:
    """An estimate with its intervals as data."""
    return {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "normal": estimate.normal,
        "bootstrap": estimate.bootstrap,
        "anytime": estimate.anytime,
        "bernstein": estimate.bernstein,
        "refused": estimate.refused or None,
    }


def drawn_effects(
    reward: str, n_rows: int, arms: Sequence[ArmEffect], checks: Sequence[PropensityCheck]
) -> list[Any]:
    """Lay out average effects, and how often each arm was given against its propensity."""
    effects = [
        (
            each.arm,
            each.n_rows,
            _number(each.mean),
            "" if each.incrementality is None else _number(each.incrementality, sign=True, error=True),
            "" if each.incrementality is None else _ends(each.incrementality, "+.6f"),
        )
        for each in arms
    ]
    chances = [
        (each.arm, each.ratio, each.standard_error, each.z, "WRONG" if abs(each.z) > LOUD_Z else "holds")
        for each in checks
    ]
    return [
        table(
            f"Average effects on {reward}, all {n_rows:,} rows",
            ("arm", "rows", "mean", "incrementality (se)", "95 % interval"),
            effects,
        ),
        table("Propensities: given over expected", ("arm", "ratio", "se", "z", "propensities"), chances),
    ]


def drawn_verdicts(
    verdicts: Sequence[Verdict], n_rows: int, limits: Limits, opt_outs: str | None
) -> list[Any]:
    """Lay out gates, then what policies use up, then every estimator of every policy."""
    ratio = verdicts[0].found.sample_ratio
    gates = [
        (
            each.policy,
            f"{each.found.support.effective_rows:,.0f}",
            f"{each.found.support.largest_share:.4f}",
            each.found.support.n_unsupported,
            f"{each.found.support.overlap:.1%}",
            each.found.support.matched_members,
            "judged" if each.is_judged else "refused",
        )
        for each in verdicts
    ]
    used = [
        (
            each.policy,
            _interval(each.volume, ".1%"),
            _interval(each.cost, ".4f"),
            *(() if each.opt_outs is None else (_interval(_best(each.opt_outs), "+.5f"),)),
        )
        for each in verdicts
    ]
    columns = ("policy", "sends a row", "cost a row", *((f"incremental {opt_outs}",) if opt_outs else ()))
    return [
        facts(
            "Gates",
            {
                "sample ratio": f"p = {ratio:.2g}, must be at least {limits.sample_ratio:g}",
                "effective sample size": f"at least {limits.effective_rows:g}",
                "largest weight's share": f"at most {limits.largest_share:g}",
                "members matched": f"at least {limits.matched_members}",
            },
        ),
        table(
            f"How well {n_rows:,} rows cover each policy",
            ("policy", "effective rows", "largest share", "unsupported", "overlap", "members", ""),
            gates,
        ),
        table("What each policy uses up (95 % intervals)", columns, used),
        *_glance(verdicts),
        *(_estimates(each) for each in verdicts if _has_numbers(each.found)),
        *_reasons(verdicts),
    ]


def _estimates(verdict: Verdict) -> Any:
    found = verdict.found
    rows = [
        (
            name,
            _interval(each, ".5f"),
            _interval(found.incremental[name], "+.5f"),
            "" if each.anytime is None else _both(each.anytime, ".5f"),
            *(() if not _has_bernstein(found) else (_both(each.bernstein, ".5f"),)),
            _threshold(found, name),
        )
        for name, each in found.values.items()
        if each.value is not None
    ]
    header: tuple[str, ...] = ("estimator", "value [95 %]", "against never messaging [95 %]", "at every look")
    header += ("Bernstein",) if _has_bernstein(found) else ()
    return table(verdict.policy, (*header, "threshold"), rows)


def _glance(verdicts: Sequence[Verdict]) -> list[Any]:
    first = verdicts[0].found
    names = [name for name in ("ips", "snips", "dr") if name in first.values]
    if not names:
        return []
    last = names[-1]
    rows = [
        (
            each.policy,
            *(_interval(each.found.values[name], ".4f") for name in names),
            _interval(each.found.incremental[last], "+.4f"),
        )
        for each in verdicts
    ]
    header = ("policy", *(name.upper() for name in names), f"{last.upper()} less never messaging")
    return [table("Values of policies per row (95 % intervals)", header, rows)]


def _reasons(verdicts: Sequence[Verdict]) -> list[Any]:
    reasons: dict[str, dict[str, list[str]]] = {}
    for each in verdicts:
        for name, value in each.found.values.items():
            if value.refused:
                reasons.setdefault(value.refused, {}).setdefault(each.policy, []).append(name)
            elif each.found.incremental[name].refused:
                text = f"against never messaging: {each.found.incremental[name].refused}"
                reasons.setdefault(text, {}).setdefault(each.policy, []).append(name)
    rows = [
        (
            text,
            ", ".join(policies),
            ", ".join(dict.fromkeys(name for some in policies.values() for name in some)),
        )
        for text, policies in reasons.items()
    ]
    return (
        [table("No number where the log cannot tell", ("why", "policies", "estimators"), rows)]
        if rows
        else []
    )


def _best(found: PolicyEstimates) -> Estimate:
    return found.incremental.get("dr") or next(iter(found.incremental.values()))


def _has_numbers(found: PolicyEstimates) -> bool:
    return any(each.value is not None for each in found.values.values())


def _has_bernstein(found: PolicyEstimates) -> bool:
    return any(each.bernstein is not None for each in found.values.values())


def _threshold(found: PolicyEstimates, name: str) -> str:
    chosen = found.thresholds.get(name)
    if chosen is None:
        return ""
    values = ("none" if value == float("inf") else f"{value:.3g}" for value in chosen.values)
    return f"{' / '.join(values)} by {chosen.rule}"


def _number(estimate: Estimate, *, sign: bool = False, error: bool = False) -> str:
    if estimate.value is None:
        return "refused"
    text = f"{estimate.value:+.6f}" if sign else f"{estimate.value:.6f}"
    return f"{text} ({estimate.standard_error:.6f})" if error else text


def _ends(estimate: Estimate, form: str) -> str:
    ends = estimate.normal
    return "" if ends is None else f"{ends.low:{form}} .. {ends.high:{form}}"


def _interval(estimate: Estimate, form: str) -> str:
    ends = estimate.bootstrap or estimate.normal
    if estimate.value is None or ends is None:
        return "refused"
    return f"{estimate.value:{form}} {_both(ends, form)}"


def _both(ends: Any, form: str) -> str:
    return "" if ends is None else f"[{ends.low:{form}}, {ends.high:{form}}]"
