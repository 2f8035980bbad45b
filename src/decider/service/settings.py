"""How the service listens and how much it takes on."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MEMBERS_PER_ANSWER = 65_536
MEMBERS_PER_ANSWER = 32_768
"""Where nothing is asked for: larger answers take fresh memory on either side, which costs more than more answers."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Limits of one server process."""

    listen: str = "127.0.0.1:50051"
    """Address and port; port 0 takes a free one."""
    max_concurrent_rpcs: int = 64
    """Calls at once, each with a thread; beyond it a call is refused at once with RESOURCE_EXHAUSTED."""
    max_message_bytes: int = 32 * 1024 * 1024
    """Largest message taken or sent; a larger one is RESOURCE_EXHAUSTED."""
    max_runs: int = 4
    """Batches at once: each holds a thread for its whole length and memory for its answers."""
    max_event_streams: int = 16
    """Event streams at once: each holds a thread for its whole length."""
    stall_seconds: float = 300.0
    """A batch whose client neither sends nor reads for so long is abandoned."""
    progress_seconds: float = 1.0
    """How often a batch tells how far it is."""
    metrics_port: int | None = None
    """Port of the Prometheus page; 0 takes a free one, none opens none."""
    reuse_port: bool = False
    """Let several server processes listen on one port (SO_REUSEPORT)."""
    reflection: bool = True
    """Tell clients what services there are."""
    grace_seconds: float = 30.0
    """How long calls under way may take to finish when the server is told to stop."""
