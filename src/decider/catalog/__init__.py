"""What can be said: messages on channels, their rules, costs, windows and caps."""

from __future__ import annotations

from decider.catalog.audience import Problem, audience_mask, check_catalog, priorities
from decider.catalog.catalog import Candidate, Cap, Catalog, Channel, Message, QuietHours, live, quiet
from decider.catalog.load import load_catalog, parse_catalog

__all__ = [
    "Candidate",
    "Cap",
    "Catalog",
    "Channel",
    "Message",
    "Problem",
    "QuietHours",
    "audience_mask",
    "check_catalog",
    "live",
    "load_catalog",
    "parse_catalog",
    "priorities",
    "quiet",
]
