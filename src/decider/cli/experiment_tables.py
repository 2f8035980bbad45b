"""A read-out of an experiment, as JSON and as tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from decider.cli.options import rfc3339
from decider.cli.output import facts, table
from decider.experiments import Effect, ReadOut


def payload_of(found: ReadOut) -> dict[str, Any]:
    """Everything, with times as people write them."""
    payload = asdict(found)
    payload["until"] = _time(payload.pop("until_micros"))
    payload["decision"] = _time(payload.pop("decision_micros"))
    alarms = [alarm for each in payload["long_term"] for alarm in each["alarms"]]
    for each in (*payload["ratios"], *payload["guardrails"], *alarms):
        each["fired"] = _time(each.pop("fired_micros"))
    payload["warnings"] = list(found.warnings)
    return payload


def drawn(found: ReadOut) -> list[Any]:
    """Tables: warnings' grounds first, then effects, then weeks."""
    cells = [
        (name, members, f"{share:.2%}")
        for name, members, share in zip(found.cells, found.members, found.shares, strict=True)
    ]
    title = f"{found.experiment}, until {_time(found.until_micros) or 'the end of the feedback'}"
    parts = [
        table(title, ("cell", "members", "planned"), cells),
        table("Sample ratio", ("stage", "members", "expected", "p", "alpha", ""), map(_ratio, found.ratios)),
    ]
    if found.guardrails:
        rows = [
            (
                each.guardrail,
                each.cell,
                f"{each.harmed:,} of {each.members:,}",
                f"{each.base_harmed:,} of {each.base_members:,}",
                f"{each.p_value:.3g}",
                "STOP" if each.must_stop else "",
            )
            for each in found.guardrails
        ]
        parts.append(table("Guardrails", ("guardrail", "cell", "harmed", "in the control", "p", ""), rows))
    header = ("metric", "role", "cell", "against", "effect", "interval at every look", "p", "CUPED took off")
    compared = [
        (each.metric, each.role, each.cell, each.against, *_effect(each.effect), _taken(each.effect))
        for each in found.comparisons
    ]
    parts.append(table("Effects", header, compared))
    for each in found.long_term:
        named = [("short weeks", each.short), ("latest weeks", each.late), ("trend a week", each.trend)]
        if each.index is not None:
            named.append((f"foretold (R2 {each.r_squared:.2f})", each.index))
        named += [(f"week {week + 1}", effect) for week, effect in enumerate(each.weeks)]
        lines = [(name, *_effect(effect)) for name, effect in named]
        title = f"Long term: {each.metric}, {each.cell} against the control"
        parts.append(table(title, ("", "effect", "interval at every look", "p"), lines))
    notes = {str(place): note for place, note in enumerate(found.notes, 1)}
    return [*parts, facts("Notes", notes)] if notes else parts


def _ratio(test: Any) -> tuple[str, ...]:
    if test.p_value is None:
        return test.stage, "", "", "", f"{test.alpha:g}", test.untold
    counts = " : ".join(f"{n:,}" for n in test.counts)
    expected = " : ".join(f"{n:,.0f}" for n in test.expected)
    wrong = "WRONG" if test.is_wrong else ""
    return test.stage, counts, expected, f"{test.p_value:.3g}", f"{test.alpha:g}", wrong


def _effect(effect: Effect) -> tuple[str, str, str]:
    if effect.value is None or effect.interval is None:
        return "", effect.refused, ""
    p_value = "" if effect.p_value is None else f"{effect.p_value:.3g}"
    ends = f"[{effect.interval.low:+.5f}, {effect.interval.high:+.5f}] ({effect.level:.1%})"
    return f"{effect.value:+.5f}", ends, p_value


def _taken(effect: Effect) -> str:
    return "" if effect.variance_reduction is None else f"{effect.variance_reduction:.1%}"


def _time(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)
