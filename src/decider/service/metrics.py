"""What an operator watches: calls, decisions, events and runs, in the Prometheus form."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

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
        self.call_seconds = CallSeconds()
        self.registry.register(self.call_seconds)
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


class CallSeconds(Collector):
    """How long calls took, by method: a histogram that takes the calls of a group at once."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodSeconds] = {}

    def of(self, method: str) -> MethodSeconds:
        """Those of one method; it is there from now on, at zero."""
        return self._methods.setdefault(method, MethodSeconds())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the registry shows."""
        family = HistogramMetricFamily(
            "decider_call_seconds", "Time from a parsed call to its last answer.", labels=("method",)
        )
        for method, seconds in sorted(self._methods.items()):
            family.add_metric((method,), *seconds.buckets())
        yield family


class MethodSeconds:
    """How long the calls of a method took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, n_calls: int = 1) -> None:
        """So many calls took so long, each."""
        with self._lock:
            self._counts[bisect_left(_SECONDS, seconds)] += n_calls
            self._sum += seconds * n_calls

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """How many took at most so long, for each bound; and the sum."""
        with self._lock:
            counts, total = list(accumulate(self._counts)), self._sum
        return list(zip(map(floatToGoString, (*_SECONDS, math.inf)), map(float, counts), strict=True)), total


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
