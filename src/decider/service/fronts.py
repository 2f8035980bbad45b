"""Several processes on one port: fronts that speak gRPC, and the engine process behind them that decides for all.

One process decides and writes the log, so history, caps and retries are as exact as without fronts; the fronts do
what costs most of a call, which is gRPC itself. See docs/adr/0008.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import structlog

from decider.errors import NotReady
from decider.service.exchange import Exchange
from decider.service.front import FrontSettings
from decider.service.listening import channel_options, reserve
from decider.service.metrics import MetricsPage
from decider.service.ports import Engine, Registry
from decider.service.server import Server, build_server
from decider.service.settings import ServiceSettings

_AGAIN_SECONDS = 1.0
_END_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class FrontedServer:
    """A server whose port is served by front processes. Made by :func:`build_fronts`; used as a :class:`Server`.

    Parameters
    ----------
    inner
        The engine's own server, on a Unix socket.
    exchange
        Decides what fronts hand over.
    fronts
        The front processes.
    settings
        Limits of each front.
    """

    def __init__(self, inner: Server, exchange: Exchange, fronts: _Fronts, settings: ServiceSettings) -> None:
        self.port, self.metrics = fronts.port, inner.metrics
        self._inner, self._exchange, self._fronts, self._settings = inner, exchange, fronts, settings
        self._page: MetricsPage | None = None

    @property
    def metrics_port(self) -> int | None:
        """Port of the Prometheus page; none when there is none."""
        return None if self._page is None else self._page.port

    def start(self) -> None:
        """Take calls from now on; those that came before have waited."""
        if self._settings.metrics_port is not None:
            host = self._settings.listen.rpartition(":")[0]
            self._page = MetricsPage(self.metrics, self._settings.metrics_port, host)
        self._exchange.start()
        self._inner.start()
        _log.info("serving", port=self.port, fronts=self._fronts.pids, metrics_port=self.metrics_port)

    def stop(self, grace_seconds: float | None = None) -> None:
        """Take no more calls, let those under way finish for so long, then end the fronts, then the engine."""
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        self._inner.leave()
        self._fronts.stop(grace)
        self._exchange.close()
        self._inner.stop(0.0)
        if self._page is not None:
            self._page.close()
            self._page = None
        _log.info("stopped", port=self.port)


def build_fronts(
    engine: Engine, registry: Registry, settings: ServiceSettings, n_fronts: int
) -> FrontedServer:
    """Start front processes on one port, with the engine of this process behind them.

    Parameters
    ----------
    engine, registry, settings
        As for :func:`build_server`; limits are for each front.
    n_fronts
        Front processes, 1 or more.

    Raises
    ------
    InvalidInput
        When the address cannot be bound.
    NotReady
        When a front does not start.
    """
    folder = TemporaryDirectory(prefix="decider-")
    sockets = Path(folder.name)
    inner_settings = replace(
        settings,
        listen=f"unix:{sockets / 'engine'}",
        max_concurrent_rpcs=n_fronts * settings.max_concurrent_rpcs,
        metrics_port=None,
    )
    inner = build_server(engine, registry, inner_settings)
    exchange = Exchange(engine, inner.metrics, sockets / "decide")
    try:
        fronts = _Fronts(folder, settings, n_fronts)
    except BaseException:
        exchange.close()
        inner.stop(0.0)
        folder.cleanup()
        raise
    return FrontedServer(inner, exchange, fronts, settings)


class _Fronts:
    """The front processes; one that dies is started again."""

    def __init__(self, folder: TemporaryDirectory[str], settings: ServiceSettings, n_fronts: int) -> None:
        self._folder, self._stopping = folder, threading.Event()
        # Held open, so that the port stays ours while fronts come and go.
        self._reserved, self.port = reserve(settings.listen, shared=settings.reuse_port)
        host = settings.listen.rpartition(":")[0]
        sockets = Path(folder.name)
        told = FrontSettings(
            listen=f"{host}:{self.port}",
            link=str(sockets / "decide"),
            engine=str(sockets / "engine"),
            max_concurrent_rpcs=settings.max_concurrent_rpcs,
            max_message_bytes=settings.max_message_bytes,
            options=channel_options(settings),
            grace_seconds=settings.grace_seconds,
        )
        (sockets / "front").write_bytes(msgspec.json.encode(told))
        self._command = [sys.executable, "-m", "decider.service.front", str(sockets / "front")]
        self._processes: list[subprocess.Popen[str]] = []
        try:
            self._processes += [self._spawn() for _ in range(n_fronts)]
            for process in self._processes:
                _await_ready(process)
        except BaseException:
            self.stop(0.0)
            raise
        for place in range(n_fronts):
            threading.Thread(target=self._watch, args=(place,), name="front-watch", daemon=True).start()

    @property
    def pids(self) -> list[int]:
        """Process ids of the fronts."""
        return [process.pid for process in self._processes]

    def stop(self, grace_seconds: float) -> None:
        """End all, after the calls under way."""
        self._stopping.set()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(grace_seconds + _END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._reserved.close()
        self._folder.cleanup()

    def _spawn(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def _watch(self, place: int) -> None:
        while True:
            process = self._processes[place]
            code = process.wait()
            if self._stopping.is_set():
                return
            if process.stdout is not None:
                process.stdout.close()
            _log.error("a front process ended: it is started again", pid=process.pid, code=code)
            if self._stopping.wait(_AGAIN_SECONDS):
                return
            self._processes[place] = self._spawn()
            if self._stopping.is_set():
                self._processes[place].terminate()


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise NotReady("a front process ended before it could take calls")
