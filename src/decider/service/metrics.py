"""What an operator watches: calls, decisions, events and runs, in the Prometheus form."""

from __future__ import annotations

import threading
from collections import Counter as Counted
from collections.abc import Iterable
from functools import lru_cache
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from decider.decision.result import Decision

# From a tenth of a millisecond, what an empty call takes, to the length of a bulk run.
_SECONDS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 300.0)


class Metrics:
    """Counters and histograms of one server.

    Every server has a registry of its own, so that several in one process do not count into each other.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter("decider_calls", "Finished calls.", ("method", "code"), registry=self.registry)
        self.call_seconds = Histogram(
            "decider_call_seconds", "Time from a parsed call to its last answer.", ("method",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.n_in_flight = 0
        """Calls now under way; only the event loop changes it."""
        in_flight = Gauge("decider_calls_in_flight", "Calls now under way.", registry=self.registry)
        in_flight.set_function(lambda: self.n_in_flight)
        self.decisions = Counter(
            "decider_decisions", "Decisions answered by Decide, retries and dry runs included.",
            ("stratum",), registry=self.registry,
        )  # fmt: skip
        self.sends = Counter(
            "decider_sends", "Messages in answered sets, batches included.", ("channel",),
            registry=self.registry,
        )  # fmt: skip
        # Looking a label up costs more than counting.
        self._stratum = lru_cache(None)(self.decisions.labels)
        self._channel = lru_cache(None)(self.sends.labels)
        self.events = Counter("decider_events", "Events taken in.", ("outcome",), registry=self.registry)
        self.runs = Counter(
            "decider_runs", "Batches by how they ended.", ("outcome",), registry=self.registry
        )
        self.run_members = Counter(
            "decider_run_members", "Members decided in batches.", registry=self.registry
        )

    def count_decisions(self, decisions: Iterable[Decision]) -> None:
        """Count answered decisions and the messages of their sets."""
        # Counting by name first: a counter takes a lock for each time that it is told something.
        strata: Counted[str] = Counted()
        channels: Counted[str] = Counted()
        for decision in decisions:
            strata[decision.stratum] += 1
            for entry in decision.record.messages:
                channels[entry.candidate.rpartition("@")[2]] += 1
        for stratum, n in strata.items():
            self._stratum(stratum).inc(n)
        for channel, n in channels.items():
            self._channel(channel).inc(n)


class MetricsPage:
    """The page that Prometheus reads, on a port of its own.

    Parameters
    ----------
    metrics
        What it shows.
    port
        Where; 0 takes a free port.
    host
        Address to listen on.
    """

    def __init__(self, metrics: Metrics, port: int, host: str = "127.0.0.1") -> None:
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, addr=host, registry=metrics.registry)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
