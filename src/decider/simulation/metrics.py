"""What each policy achieved in each epoch, and in all; by the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.simulation.choose import Choice
from decider.simulation.messages import Messages
from decider.simulation.outcomes import Outcomes
from decider.simulation.state import Departures
from decider.simulation.truth import Response

COLUMNS = {
    "policy": pl.String,
    "epoch": pl.Int64,
    "n_members": pl.Int64,
    "reward": pl.Int64,
    "incremental": pl.Float64,
    "sends": pl.Int64,
    "messaged": pl.Int64,
    "drawn": pl.Int64,
    "opt_outs": pl.Int64,
    "complaints": pl.Int64,
    "price": pl.Float64,
    "bounded": pl.Int64,
}
"""Sums over members. reward: who watched; incremental: expected reward less that of never messaging, by the truth;
drawn: sends of sets drawn at random; bounded: members whose expected reward met an end of [0, 1]."""


class Measured(NamedTuple):
    """One policy, one epoch."""

    row: dict[str, object]
    """A row of COLUMNS."""
    messages: pl.DataFrame
    """policy, epoch, message, sends, incremental: of every message that was sent."""


def measure(
    policy: str, epoch: int, choice: Choice, seen: tuple[Response, Outcomes, Departures], messages: Messages
) -> Measured:
    """Sum up what one policy did in one epoch."""
    response, outcomes, departures = seen
    sent = choice.sets >= 0
    row: dict[str, object] = {
        "policy": policy,
        "epoch": epoch,
        "n_members": choice.sets.shape[1],
        "reward": int(outcomes.reward.sum(dtype=np.int64)),
        "incremental": float(response.incremental.sum(dtype=np.float64)),
        "sends": int(sent.sum()),
        "messaged": int(sent[0].sum()),
        "drawn": int(sent[:, choice.drawn].sum()),
        "opt_outs": departures.n_opt_outs,
        "complaints": departures.n_complaints,
        "price": choice.price,
        "bounded": response.n_bounded,
    }
    return Measured(row, _by_message(policy, epoch, choice.sets, response.gains, messages))


def epochs_frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    """One row a policy and epoch: COLUMNS, and against the oracle at the same volume in the same epoch.

    ``incremental_per_1000, sends_per_member, share_of_oracle, regret`` (incremental reward short of the oracle's).
    """
    frame = pl.DataFrame(rows, schema=COLUMNS)
    best = frame.filter(pl.col("policy") == "oracle").select("epoch", best="incremental")
    return frame.join(best, on="epoch", how="left", maintain_order="left").with_columns(
        incremental_per_1000=1000.0 * pl.col("incremental") / pl.col("n_members"),
        sends_per_member=pl.col("sends") / pl.col("n_members"),
        share_of_oracle=pl.col("incremental") / pl.col("best"),
        regret=pl.col("best") - pl.col("incremental"),
    ).drop("best")  # fmt: skip


def summary_frame(epochs: pl.DataFrame, since: int) -> pl.DataFrame:
    """One row a policy: means and sums over the epochs from `since` on; opt-outs over all of them."""
    late = pl.col("epoch") >= since
    total = pl.col("incremental").filter(late).sum()
    n_members = pl.col("n_members").filter(late).sum()
    summed = epochs.group_by("policy", maintain_order=True).agg(
        reward_per_1000=1000.0 * pl.col("reward").filter(late).sum() / n_members,
        incremental_per_1000=1000.0 * total / n_members,
        regret_per_1000=1000.0 * pl.col("regret").filter(late).sum() / n_members,
        sends_per_member=pl.col("sends").filter(late).sum() / n_members,
        opt_outs=pl.col("opt_outs").sum(),
        complaints=pl.col("complaints").sum(),
        bounded=pl.col("bounded").sum(),
    )
    best = summed.filter(pl.col("policy") == "oracle")["incremental_per_1000"].item()
    return summed.with_columns(share_of_oracle=pl.col("incremental_per_1000") / best)


def _by_message(
    policy: str,
    epoch: int,
    sets: NDArray[np.int16],
    gains: NDArray[np.float32],
    messages: Messages,
) -> pl.DataFrame:
    held = sets >= 0
    of_send = messages.message[sets[held]]
    names = list(dict.fromkeys(message.id for message in messages.messages))
    sends = np.bincount(of_send, minlength=len(names))
    worth = np.bincount(of_send, gains[held].astype(np.float64), minlength=len(names))
    frame = pl.DataFrame({"message": names, "sends": sends, "incremental": worth})
    return frame.select(pl.lit(policy).alias("policy"), pl.lit(epoch, pl.Int64).alias("epoch"), pl.all())
