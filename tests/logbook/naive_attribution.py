"""Attribution from its definition, one event at a time, in plain Python."""

from __future__ import annotations

from typing import Any


def attribute(
    decisions: list[dict[str, Any]],
    events: list[dict[str, Any]],
    weights: dict[str, float],
    window_micros: int,
    use_value: list[str],
    now_micros: int,
) -> dict[str, float | None]:
    rewards = {each["decision_id"]: 0.0 for each in decisions}
    seen = set()
    for event in events:
        if event["event_id"] in seen:
            continue
        seen.add(event["event_id"])
        if event["type"] not in weights:
            continue
        if event["decision_id"] is not None:
            owners = [each for each in decisions if each["decision_id"] == event["decision_id"]]
        else:
            owners = [
                each
                for each in decisions
                if each["member_id"] == event["member_id"]
                and event["candidate"] in each["candidates"]
                and each["decision_time_micros"] <= event["event_time_micros"]
            ]
            owners = sorted(owners, key=lambda each: each["decision_time_micros"])[-1:]
        for owner in owners:
            age = event["event_time_micros"] - owner["decision_time_micros"]
            if 0 <= age < window_micros:
                scale = event["value"] if event["type"] in use_value else 1.0
                rewards[owner["decision_id"]] += weights[event["type"]] * scale
    return {
        each["decision_id"]: rewards[each["decision_id"]]
        if now_micros >= each["decision_time_micros"] + window_micros
        else None
        for each in decisions
    }
