"""What the demo says: the same facts as data and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from decider.cli.decisions import drawn_trace
from decider.cli.demo.serving import Batch
from decider.cli.demo.values import ESTIMATORS, Judged
from decider.cli.output import facts, table
from decider.cli.plain import plain
from decider.evaluation import AverageEffects, Estimate


def arms_payload(effects: Sequence[AverageEffects]) -> list[dict[str, Any]]:
    """Rows and mean rewards of every arm."""
    return [
        {
            "arm": effect.arm,
            "rows": effect.n_rows,
            **{each.reward: each.of(effect.arm).mean.value for each in effects},
        }
        for effect in effects[0].arms
    ]


def effects_payload(effects: Sequence[AverageEffects]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Average incrementality by reward and arm, with its standard error."""
    return {
        each.reward: {
            effect.arm: {
                "estimate": effect.incrementality.value,
                "standard_error": effect.incrementality.standard_error,
            }
            for effect in each.arms
            if effect.incrementality is not None
        }
        for each in effects
    }


def volume_payload(batch: Batch, volume: int) -> dict[str, Any]:
    """What was allowed and what was sent."""
    summary = batch.summary
    return {
        "allowed": volume,
        "sent": summary.volume,
        "sent_at_random": summary.volume_explore,
        "members_messaged": summary.messaged_member_count,
        "per_message": {count.name: count.count for count in summary.per_message},
        "per_stratum": {count.name: count.count for count in summary.per_stratum},
        "expected_incremental_visits": summary.expected_incremental_reward,
    }


def rate_payload(batch: Batch) -> dict[str, float]:
    """How fast the answers came."""
    return {"seconds": batch.seconds, "members_per_second": batch.decisions.height / batch.seconds}


def values_payload(values: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """Value and incremental value of each policy per member, by estimator, with 95 % intervals."""
    return {
        judged.policy: {
            "send_share": judged.send_share,
            **{name: _estimate(judged.found.values[name]) for name in ESTIMATORS},
            **{f"incremental_{name}": _estimate(judged.found.incremental[name]) for name in ESTIMATORS},
        }
        for judged in values
    }


def worth_explaining(decisions: pl.DataFrame) -> str:
    """The decision of the exploit stratum whose message gained most."""
    sent = decisions.filter((pl.col("stratum") == "exploit") & (pl.col("candidates").list.len() > 0))
    best = sent.sort(pl.col("marginal_gain").list.first(), descending=True)
    return str((best if best.height else decisions)["decision_id"][0])


def explained_payload(explanation: Any) -> dict[str, Any]:
    """An explanation as plain values."""
    return plain(explanation)


def drawn(payload: dict[str, Any], effects: Sequence[AverageEffects], values: Sequence[Judged]) -> list[Any]:
    """Everything as tables."""
    data, volume, server, log = payload["data"], payload["volume"], payload["server"], payload["log"]
    explained = payload["explained"]
    return [
        facts("The trial", {"members": payload["members"], "source": data["source"], "note": data["note"]}),
        _effects_table(effects),
        _values_table(values),
        facts(
            "Everybody, under a volume",
            {
                "allowed": f"{volume['allowed']:,} e-mails",
                "sent": f"{volume['sent']:,}, {volume['sent_at_random']:,} of them at random",
                "which": ", ".join(f"{name} {count:,}" for name, count in volume["per_message"].items()),
                "price": f"{payload['price']:.6f} visits an e-mail",
                "expected incremental visits": f"{volume['expected_incremental_visits']:,.0f}",
                "over gRPC in": f"{server['seconds']:.2f} s ({server['members_per_second']:,.0f} members/s)",
                "read back from the log": f"{log['decisions']:,} decisions, {log['sends']:,} sends, "
                + (
                    "the same as answered"
                    if log["equals_what_the_client_was_told"]
                    else "NOT what was answered"
                ),
            },
        ),
        drawn_trace(explained["trace"]),
        facts(
            f"Why, for member {explained['decision']['member_id']}",
            {
                "decision": explained["decision"]["decision_id"],
                "computed again": "the same, bit for bit" if explained["reproduced"] else "NOT the same",
                "what ended the set": explained["binding_cap"],
                "distance of the runner-up to the price": explained["distance_to_price"],
            },
        ),
        facts("Where everything lies", payload["where"]),
    ]


def _effects_table(effects: Sequence[AverageEffects]) -> Any:
    header = ["arm", "members"]
    for each in effects:
        header += [each.reward, "incrementality (se)"]
    rows = []
    for place, first in enumerate(effects[0].arms):
        row: list[object] = [first.arm, first.n_rows]
        for each in effects:
            effect = each.arms[place]
            row += [f"{effect.mean.value:.6f}", _signed(effect.incrementality)]
        rows.append(row)
    return table("What each e-mail caused on average", header, rows)


def _values_table(values: Sequence[Judged]) -> Any:
    rows = [
        (
            judged.policy,
            f"{judged.send_share:.1%}",
            *(
                _per_thousand(found[name])
                for found in (judged.found.values, judged.found.incremental)
                for name in ("ips", "dr")
            ),
        )
        for judged in values
    ]
    header = ("policy", "mailed", "visits, IPS", "visits, DR", "incremental, IPS", "incremental, DR")
    title = "Visits per 1,000 members on the half that no model saw (95 % intervals)"
    return table(title, header, rows)


def _signed(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.value is None:
        return f"refused: {estimate.refused}"
    return f"{estimate.value:+.6f} ({estimate.standard_error:.6f})"


def _per_thousand(estimate: Estimate) -> str:
    ends = estimate.bootstrap or estimate.normal
    if estimate.value is None or ends is None:
        return "refused"
    return f"{1000 * estimate.value:.1f} [{1000 * ends.low:.1f}, {1000 * ends.high:.1f}]"


def _estimate(estimate: Estimate) -> dict[str, Any]:
    ends = estimate.bootstrap or estimate.normal
    return {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "interval": None if ends is None else [ends.low, ends.high],
        "refused": estimate.refused or None,
    }
