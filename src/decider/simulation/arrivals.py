"""How soon a policy gets out of a new message what the oracle does."""

from __future__ import annotations

import polars as pl

from decider.simulation.messages import Messages

SPAN = 3
"""Epochs summed: a topic rests after a send, so single epochs rise and fall for each policy on its own."""
REACHED = 0.8
"""Share of the oracle's value that counts as reached."""


def arrivals_frame(by_message: pl.DataFrame, messages: Messages, n_epochs: int) -> pl.DataFrame:
    """Follow every message that appears during a simulation.

    Parameters
    ----------
    by_message
        ``policy, epoch, message, sends, incremental`` of a :class:`decider.simulation.run.Simulation`.
    messages
        The world's candidates.
    n_epochs
        Epochs simulated.

    Returns
    -------
    ``policy, message, appears, epoch, epochs_since, share_of_oracle``
        For each epoch from the message's (SPAN - 1)-th on: true gains of its sends over the last SPAN epochs,
        over the same of the oracle. Null where the oracle gained nothing by it. A policy can pass 1, with what
        other policies used up before.
    """
    appears = {m.id: m.appears for m in messages.messages if 0 < m.appears <= n_epochs - SPAN}
    new = by_message.filter(pl.col("message").is_in(list(appears))).with_columns(
        appears=pl.col("message").replace_strict(appears, return_dtype=pl.Int64, default=None)
    )
    summed = new.filter(pl.col("epoch") >= pl.col("appears")).with_columns(
        value=pl.col("incremental").rolling_sum(SPAN).over("policy", "message", order_by="epoch")
    )
    best = summed.filter(pl.col("policy") == "oracle").select("message", "epoch", best="value")
    share = pl.when(pl.col("best") > 0.0).then(pl.col("value") / pl.col("best"))
    return (
        summed.join(best, on=["message", "epoch"], how="left", maintain_order="left")
        .filter(pl.col("value").is_not_null())
        .with_columns(epochs_since=pl.col("epoch") - pl.col("appears"), share_of_oracle=share)
        .select("policy", "message", "appears", "epoch", "epochs_since", "share_of_oracle")
    )


def epochs_to_reach(arrivals: pl.DataFrame) -> pl.DataFrame:
    """Epochs from its first until a message brings REACHED of the oracle's; null where it never does.

    Columns ``policy, message, appears, epochs_to_reach``; 3 says: at the end of its third epoch.
    """
    reached = pl.col("share_of_oracle") >= REACHED
    return arrivals.group_by("policy", "message", "appears", maintain_order=True).agg(
        epochs_to_reach=1 + pl.col("epochs_since").filter(reached).min()
    )
