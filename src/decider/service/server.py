"""The server: services, health, reflection and metrics on one port, and how it comes to an end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Protocol

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from decider.decision.request import MemberRequest
from decider.service.calls import Calls
from decider.service.deciding import Deciding
from decider.service.decisions import DecisionService
from decider.service.feedback import FeedbackService
from decider.service.heap import settle_heap
from decider.service.listening import bind, channel_options
from decider.service.loop import run
from decider.service.metrics import Metrics, MetricsPage
from decider.service.models import ModelService
from decider.service.ports import Engine, Registry
from decider.service.settings import ServiceSettings
from decider.service.waiting import WaitingDecides
from decider.v1 import (
    decision_service_pb2,
    decision_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (decision_service_pb2, "DecisionService"),
        (feedback_service_pb2, "FeedbackService"),
        (model_service_pb2, "ModelService"),
    )
)

_log = structlog.get_logger(__name__)


class Server:
    """gRPC servers of one port with their health and metrics. Made by :func:`build_server`.

    Parameters
    ----------
    grpc_servers
        Not started yet.
    port
        The port that they are bound to.
    health_servicer
        Tells whether it serves.
    metrics
        What is counted.
    settings
        Limits.
    waiting
        Decides the calls of Decide; closed here.
    threads
        Run the other calls; shut down here.
    """

    def __init__(
        self,
        grpc_servers: Sequence[grpc.aio.Server],
        port: int,
        health_servicer: health.aio.HealthServicer,
        metrics: Metrics,
        settings: ServiceSettings,
        waiting: WaitingDecides[MemberRequest],
        threads: ThreadPoolExecutor,
    ) -> None:
        self.port, self.metrics = port, metrics
        self._grpc, self._health, self._settings = grpc_servers, health_servicer, settings
        self._waiting, self._threads = waiting, threads
        self._page: MetricsPage | None = None

    @property
    def metrics_port(self) -> int | None:
        """Port of the Prometheus page; none when there is none."""
        return None if self._page is None else self._page.port

    def start(self) -> None:
        """Take calls from now on."""
        if self._settings.metrics_port is not None:
            host = self._settings.listen.rpartition(":")[0]
            self._page = MetricsPage(self.metrics, self._settings.metrics_port, host)
        run(self._start())
        _log.info("serving", port=self.port, metrics_port=self.metrics_port)

    def stop(self, grace_seconds: float | None = None) -> None:
        """Take no more calls, let those under way finish for so long, then cut the rest off.

        Parameters
        ----------
        grace_seconds
            None takes the settings'.
        """
        run(self._stop(self._settings.grace_seconds if grace_seconds is None else grace_seconds))
        self._waiting.close()
        self._threads.shutdown(wait=False)
        if self._page is not None:
            self._page.close()
            self._page = None
        _log.info("stopped", port=self.port)

    def leave(self) -> None:
        """Tell those who watch the server's health that it ends; calls are still taken."""
        run(self._health.enter_graceful_shutdown())

    async def _start(self) -> None:
        for server in self._grpc:
            await server.start()
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def _stop(self, grace_seconds: float) -> None:
        await self._health.enter_graceful_shutdown()
        await asyncio.gather(*(server.stop(grace_seconds) for server in self._grpc))


def build_server(engine: Engine, registry: Registry, settings: ServiceSettings) -> Server:
    """Put the services on a port; :meth:`Server.start` begins to take calls.

    Parameters
    ----------
    engine
        Decides and logs.
    registry
        Keeps the models.
    settings
        Limits.

    Raises
    ------
    InvalidInput
        When the address cannot be bound.
    """
    return run(_build_server(engine, registry, settings))


async def _build_server(engine: Engine, registry: Registry, settings: ServiceSettings) -> Server:
    metrics = Metrics()
    servers, port = bind(settings.listen, channel_options(settings), shared=settings.reuse_port)
    # Every admitted call has a thread at once: waiting in a queue would only use up its deadline.
    threads = ThreadPoolExecutor(settings.max_concurrent_rpcs, thread_name_prefix="call")
    waiting = WaitingDecides(Deciding(engine, metrics).decide, asyncio.get_running_loop())
    calls = Calls(servers, metrics, threads, settings.max_concurrent_rpcs)
    decision_service_pb2_grpc.add_DecisionServiceServicer_to_server(
        DecisionService(engine, settings, metrics, waiting), calls
    )
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(
        FeedbackService(engine, settings, metrics), calls
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(engine, registry), calls)
    health_servicer = health.aio.HealthServicer()
    await health_servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, calls)
    if settings.reflection:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(names), calls
        )
    return Server(servers, port, health_servicer, metrics, settings, waiting, threads)


class Serving(Protocol):
    """A server that can be started and stopped, with fronts or without."""

    @property
    def port(self) -> int: ...  # noqa: D102

    def start(self) -> None: ...  # noqa: D102

    def stop(self) -> None: ...  # noqa: D102


def serve(server: Serving, reload: Callable[[], object], close: Callable[[], object]) -> None:
    """Serve until SIGTERM or SIGINT; then finish the calls under way and close. SIGHUP reads the parts anew.

    Parameters
    ----------
    server
        Not started yet. Must be called in the main thread, since signals come there.
    reload
        Reads catalog, policies, snapshot and models anew; an error leaves the old ones in force.
    close
        Closes engine and log, after the last call.
    """
    told: SimpleQueue[int] = SimpleQueue()
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    before = {number: signal.signal(number, lambda told_of, _frame: told.put(told_of)) for number in numbers}
    try:
        server.start()
        while _next(told) == signal.SIGHUP:
            _reload(reload)
    finally:
        server.stop()
        close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _next(told: SimpleQueue[int]) -> int:
    # A signal that comes just as this thread begins to wait would be handled only when it wakes: so it wakes.
    while True:
        try:
            return told.get(timeout=1.0)
        except Empty:
            continue


def _reload(reload: Callable[[], object]) -> None:
    try:
        reload()
    except Exception as error:  # whatever is wrong with the new parts, the old ones keep serving
        _log.error("reload refused", exc_info=error)
    else:
        settle_heap()
        _log.info("reloaded")
