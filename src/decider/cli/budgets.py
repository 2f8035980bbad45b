"""Budgets on the command line, as text and as what a run asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from decider.cli.options import pairs, share_of
from decider.decision.request import Budget
from decider.errors import InvalidInput


def volume_of(text: str, n_members: int | None, field: str = "volume") -> int:
    """Read a number of sends, or a share of the members: the whole part of it.

    Parameters
    ----------
    text
        Such as ``5000`` or ``30%``.
    n_members
        None where only a server knows it: then a share is refused.
    field
        What the text is called in an error.
    """
    if text.endswith("%"):
        if n_members is None:
            rule = "must be a number with --server: only the server knows how many members there are"
            raise InvalidInput.of(field, rule, text)
        return int(share_of(field, text) * n_members)
    if not text.isdecimal():
        raise InvalidInput.of(field, "must be a number of sends, or a share such as 30%", text)
    return int(text)


def budgets_of(messages: Sequence[str], costs: Sequence[str], n_members: int | None) -> tuple[Budget, ...]:
    """Read budgets of messages, ``CHANNEL=N`` each, and of cost, ``CHANNEL=COST`` or ``COST`` for all channels.

    Parameters
    ----------
    messages, costs
        As they were given.
    n_members
        As of :func:`volume_of`: a number of messages may be a share of the members.

    Raises
    ------
    InvalidInput
        For text that is none of these, and a channel that is given twice.
    """
    of_all = [text for text in costs if "=" not in text]
    if len(of_all) > 1:
        raise InvalidInput.of("cost-budget", "must be given once for all channels", of_all)
    counted = pairs("budget", messages)
    by_cost = pairs("cost-budget", [text for text in costs if "=" in text])
    twice = sorted(counted.keys() & by_cost.keys())
    if twice:
        raise InvalidInput.of("cost-budget", "must name channels without a --budget", twice)
    return (
        *(
            Budget(channel=name, messages=volume_of(text, n_members, "budget"))
            for name, text in counted.items()
        ),
        *(Budget(channel=name, cost=_cost(text)) for name, text in by_cost.items()),
        *(Budget(cost=_cost(text)) for text in of_all),
    )


def _cost(text: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = math.nan
    if not (math.isfinite(cost) and cost >= 0.0):
        raise InvalidInput.of("cost-budget", "must be a cost >= 0, or CHANNEL=COST", text)
    return cost
