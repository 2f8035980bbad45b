"""To whom: snapshots of members, their consent, time zones and what was sent to them."""

from __future__ import annotations

from decider.members.build import Progress, build_snapshot
from decider.members.live import OPT_OUT, SEND, LiveHistory, LiveView
from decider.members.manifest import SnapshotManifest
from decider.members.snapshot import Snapshot
from decider.members.spec import SendsSpec, SnapshotSpec, load_spec
from decider.members.vocabulary import CodeTables, SendName, Translates
from decider.members.zones import local_minutes, minutes_of_zones

__all__ = [
    "OPT_OUT",
    "SEND",
    "CodeTables",
    "LiveHistory",
    "LiveView",
    "Progress",
    "SendName",
    "SendsSpec",
    "Snapshot",
    "SnapshotManifest",
    "SnapshotSpec",
    "Translates",
    "build_snapshot",
    "load_spec",
    "local_minutes",
    "minutes_of_zones",
]
