"""Why members of a run were sent nothing: who might have got what is found again, and counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from decider.decision.frame import chunk_of_segment
from decider.decision.parts import Parts
from decider.decision.replay import ROWS, question_of
from decider.decision.steps import gather, permit
from decider.logbook.schema import RunRecord
from decider_core import reasons
from decider_core.explore import EXPLORE, HOLDOUT
from decider_core.history import LiveSends

PRICE = "price"
"""Something was eligible, and nothing was worth its price."""
DRAWN = "drawn"
"""In the explore stratum, where no message was drawn."""
SEVERAL = "several_rules"
"""Every candidate was excluded, by rules that differ."""


def unsent_reasons(parts: Parts, run: RunRecord, frame: pl.DataFrame, sends: LiveSends) -> Counter[str]:
    """Count why members of a segment were sent nothing.

    Parameters
    ----------
    parts
        Of the versions that the run names.
    run, frame
        The run and one of its segments.
    sends
        The history since the snapshot.

    Returns
    -------
    Counter
        Members by ``holdout``, ``drawn``, ``price``, the name of the one rule that excluded every candidate
        (:data:`decider_core.reasons.NAMES`), or ``several_rules``.
    """
    nothing = frame.filter(pl.col("n_messages") == 0)
    found: Counter[str] = Counter()
    for stratum, name in ((HOLDOUT, reasons.NAMES[reasons.HOLDOUT]), (EXPLORE, DRAWN)):
        found[name] += nothing.filter(pl.col("stratum") == stratum).height
    judged = nothing.filter(~pl.col("stratum").is_in([HOLDOUT, EXPLORE]))
    for start in range(0, judged.height, ROWS):
        logged = chunk_of_segment(judged.slice(start, ROWS), parts.snapshot)
        for sequence in np.unique(logged.history_sequence).tolist():
            places = np.flatnonzero(logged.history_sequence == sequence)
            question = question_of(parts, run, logged, places, sends, sequence)
            reason = permit(question, gather(question)).reason
            eligible = (reason == reasons.ELIGIBLE).any(axis=0)
            found[PRICE] += int(eligible.sum())
            barred = reason[:, ~eligible]
            one_rule = (barred == barred[0]).all(axis=0)
            found[SEVERAL] += int((~one_rule).sum())
            codes, counts = np.unique(barred[0, one_rule], return_counts=True)
            found.update(
                {
                    reasons.NAMES[code]: count
                    for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
                }
            )
    return +found
